"""Each tab can be used without a mouse and read by everybody: axe-core finds nothing serious, in light and dark."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lib_lora.demo.dolls import write_dolls
from tests.browser.desk import Desk

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from lib_lora.workbench import Workbench

AXE = "axe-core@4.14.1"  # Deque Systems, MPL-2.0; used by this test only
STATE = Path(__file__).parents[2] / ".state" / "npm"
SERIOUS = ("serious", "critical")
TABS = ("Dataset", "Train", "Epoch grid", "Blocks", "Merge", "Publish", "Runs")
# what gradio draws itself, and no page can change
OF_GRADIO = ("aria-allowed-attr", "aria-required-children", "nested-interactive")
RUN = """async (rules) => {
    const off = Object.fromEntries(rules.map((rule) => [rule, {enabled: false}]));
    const found = await axe.run("#lw_page", {resultTypes: ["violations"], rules: off});
    return found.violations.flatMap((rule) => rule.nodes.map((node) => [rule.impact, rule.id, node.target.join(" "),
                                                                        node.failureSummary]));
}"""

UNFOLD = """() => document.querySelectorAll("#lw_page [id^=lw_tab_] .label-wrap:not(.open)")
    .forEach((fold) => { if (fold.getClientRects().length && !fold.closest(".lw-ds-tools")) fold.click(); })"""


@pytest.fixture(scope="session")
def axe() -> str:
    """The script, fetched once from npm."""
    folder = STATE / AXE
    if not folder.is_dir():
        npm = shutil.which("npm")
        assert npm, "npm is needed for this test; install Node.js"
        part = STATE / f".{AXE}"
        part.mkdir(parents=True, exist_ok=True)
        subprocess.run([npm, "pack", "--silent", AXE], cwd=part, check=True, stdout=subprocess.DEVNULL)
        shutil.unpack_archive(next(part.glob("*.tgz")), part)
        part.rename(folder)
    return (folder / "package" / "axe.min.js").read_text(encoding="utf-8")


def test_no_tab_has_a_serious_fault(page: Page, workbench: Workbench, axe: str, tmp_path: Path) -> None:
    desk = Desk(page, tmp_path / "pictures")
    folder = write_dolls(workbench.host.paths.places.sets)
    desk.tab("Dataset")
    desk.type("lw_ds_folders", folder)
    desk.click("lw_ds_open")
    desk.sees("#lw_ds_set", "24 images")
    desk.tool("made")
    page.evaluate(axe)
    faults = [fault for tab in TABS for fault in faults_of(desk, tab)]
    page.evaluate("document.body.classList.add('dark')")
    faults += [fault for tab in TABS for fault in faults_of(desk, f"{tab}")]
    assert not faults, "\n".join(faults)


def faults_of(desk: Desk, tab: str) -> list[str]:
    """What is wrong on a tab: a line each."""
    desk.tab(tab)
    for _ in range(3):  # folds in folds; gradio 6 builds what is in a tab or fold when it is opened
        desk.page.wait_for_timeout(400)
        desk.page.evaluate(UNFOLD)
    found = desk.page.evaluate(RUN, list(OF_GRADIO))
    return [f"{tab}: {rule} at {target}: {why}" for impact, rule, target, why in found if impact in SERIOUS]
