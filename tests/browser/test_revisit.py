"""What is asked of a run afterwards, by clicking: the best mixture, and which pictures did something."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from PIL import Image

from tests.browser.desk import Desk
from tests.training.worlds import small_config

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from lib_lora.training.run import Run
    from lib_lora.workbench import Workbench


@pytest.fixture
def run(workbench: Workbench) -> Run:
    torch.set_num_threads(1)
    folder = workbench.host.paths.data / "sets" / "mira"
    folder.mkdir(parents=True)
    for number in range(8):
        Image.new("RGB", (64, 64), (30 * number, 250 - 30 * number, 90)).save(folder / f"{number}.png")
        (folder / f"{number}.txt").write_text(f"girl, tag{number}", encoding="utf-8")
    config = small_config(folder, validation_split=0.5, epochs=3, unet_lr=2e-2, te_lr=0.0)
    return workbench.runs.open(workbench.queue.wait(workbench.start_training(config), 300).run)


def test_mixture_and_influence(run: Run, page: Page, workbench: Workbench, tmp_path: Path) -> None:
    desk = Desk(page, tmp_path / "pictures")
    desk.tab("Runs")
    find, rows = page.get_by_role("searchbox", name="Find a run"), page.locator("#lw_runs_table tbody tr:visible")
    rows.wait_for()
    find.fill("mira20")  # no name: the date stands in the next column
    rows.wait_for(state="detached")
    find.fill("mira")
    rows.wait_for()
    desk.page.locator("#lw_runs_table").get_by_role("button", name="mira", exact=True).click()
    desk.sees("#lw_runs_details .lw-title", "mira")
    desk.click("lw_runs_use_mixture")
    desk.says("lw_runs_mixture_message", "No mixture was looked for yet")
    desk.click("lw_runs_mixture")
    desk.sees("#lw_runs_mixture_progress .lw-message", "mixture")
    desk.photograph("mixture")
    desk.click("lw_runs_use_mixture")
    page.wait_for_function("document.querySelector('#lw_merge_formula textarea, #lw_merge_formula input')"
                           "?.value.startsWith('mira')")  # fmt: skip
    desk.tab("Epoch grid")
    desk.pick("lw_grid_run", run.id)
    desk.type("lw_grid_weights", "1")
    desk.open("Grid: size, steps and sampler")
    for name, value in (("width", 64), ("height", 64), ("steps", 1)):
        desk.type(f"lw_grid_{name}", value)
    desk.click("lw_grid_make")
    desk.sees_picture("#lw_grid_table [data-lw-cell] img", 64, 3)
    page.locator('[data-lw-cell="e3:1.0:"]').first.click()
    page.locator("#lw_grid_chosen").get_by_role("button", name="Which pictures did this?").first.click()
    desk.sees_picture("#lw_grid_ranked img", 64, 4)
    desk.photograph("influence")
    page.locator("#lw_grid_leave_out input[type=checkbox]").first.check()
    desk.click("lw_grid_train_without")
    desk.says("lw_grid_why_message", "Trains again")
    again = next(other for other in workbench.runs.list() if other.id != run.id).config()
    assert again.name == "mira-2" and again.leave_out.endswith(".png")
    last = max(job.id for job in workbench.queue.jobs())
    workbench.queue.cancel(last)
    workbench.queue.wait(last, 60)  # an interpreter that ends while a thread of it computes may crash
