"""Messages go when their cause is gone: an old error never stands beside a new one."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from lib_lora.errors import UserError
from lib_lora.jobs.views import CANCELLED, DONE, FAILED, PAUSED, RUNNING, TRAINING, TrainView
from lib_lora.ui import actions, html
from lib_lora.ui.app import build_page
from lib_lora.ui.files import Pictures
from lib_lora.ui.train_live import ASKED, where_it_is, while_training
from lib_lora.workbench import Workbench
from tests.browser.window import TIMEOUT
from tests.ui.bare_host import bare_host

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext

ROOT = Path(__file__).parents[2]
SCRIPT, STYLE = ROOT / "javascript" / "lora_workbench_messages.js", ROOT / "style.css"
SHOWN = {  # lists and plans, and what the value of a field needs: they stay, and the next takes their place
    "lw_blocks_proposal", "lw_blocks_scan_plan", "lw_browse_list", "lw_ds_browse_list", "lw_ds_tagger_package",
    "lw_train_package",
}  # fmt: skip


def place(elem_id: str, said: str) -> str:
    return f'<div class="lw-html" id="{elem_id}"><div class="prose">{said}</div></div>'


def tab(name: str, *inside: str) -> str:
    button = f'<button id="go_{name}">go</button><input id="field_{name}">'
    return f'<div id="lw_tab_{name}">{button}{"".join(inside)}</div>'


OLD = html.error_message(UserError("old error"))
GOOD = html.message("saved", html.GOOD)
PAGE = tab(
    "merge", place("lw_merge_message", OLD), place("lw_merge_saved", GOOD), place("lw_merge_written", OLD)
) + tab("dataset", place("lw_ds_compose_message", OLD), place("lw_ds_report_message", GOOD))


def test_the_next_click_takes_the_messages_of_its_tab_away_and_typing_its_errors(context: BrowserContext) -> None:
    page = context.new_page()
    page.set_default_timeout(TIMEOUT)
    page.set_content(PAGE)
    page.add_script_tag(path=str(SCRIPT))

    def seen() -> list[str]:
        return page.evaluate(
            "Array.from(document.querySelectorAll('.lw-message')).filter((m) => !m.hidden)"
            ".map((m) => m.closest('.lw-html').id)"
        )

    page.locator("#field_dataset").press_sequentially("x")
    assert seen() == ["lw_merge_message", "lw_merge_saved", "lw_merge_written", "lw_ds_report_message"]
    page.evaluate("document.querySelector('#go_merge').click()")  # a script's, such as ours for a key, is no cause
    assert len(seen()) == 4
    page.locator("#go_merge").click()
    assert seen() == ["lw_ds_report_message"]  # what another tab says stays
    page.evaluate("html => { document.querySelector('#lw_merge_message .prose').innerHTML = html; }", OLD)
    assert seen() == ["lw_merge_message", "lw_ds_report_message"]  # the new one is in view
    page.close()


def test_an_answer_below_the_fold_is_scrolled_to(context: BrowserContext) -> None:
    """A button of the tools looked dead, for its error was out of view."""
    page = context.new_page()
    page.set_default_timeout(TIMEOUT)
    below = f'<div style="height: 900px"></div>{place("lw_ds_report_message", "")}<div style="height: 900px"></div>'
    column = f'<div class="lw-ds-tools" style="height: 300px; overflow-y: auto">{tab("dataset", below)}</div>'
    page.set_content(f'<div style="height: 40px"></div>{column}')
    page.add_script_tag(path=str(SCRIPT))
    page.locator("#go_dataset").click()
    page.evaluate("html => { document.querySelector('#lw_ds_report_message .prose').innerHTML = html; }", OLD)
    page.wait_for_function(
        "() => { const [said, column] = ['.lw-message', '.lw-ds-tools'].map((one) => document.querySelector(one)"
        ".getBoundingClientRect()); return said.height > 0 && said.top >= column.top"
        " && said.bottom <= column.bottom + 1; }",
        timeout=20_000,
    )
    page.close()


def test_what_is_said_of_a_training_goes_when_it_ends(context: BrowserContext) -> None:
    """ "Started. You can close this page" stood there for ever."""
    common = (1, "train", "mira", RUNNING, 4, 9, "", 1.0, 2.0, None, "")
    job = TrainView(*common, "run", TRAINING, 1, 2, 0.1, None)
    page = context.new_page()
    page.set_default_timeout(TIMEOUT)
    seen = []
    for state in (RUNNING, PAUSED, DONE, FAILED, CANCELLED):
        said = "".join(map(while_training, ("Started.", *ASKED.values())))
        page.set_content(f'<div id="lw_page">{tab("train", said, where_it_is(replace(job, state=state)))}</div>')
        page.add_style_tag(path=str(STYLE))
        seen.append(page.locator(".lw-message").evaluate_all("all => all.filter((m) => m.checkVisibility()).length"))
    page.close()
    assert seen == [4, 4, 0, 0, 0]


def test_what_is_said_of_queued_jobs_goes_when_nothing_runs_any_more(context: BrowserContext) -> None:
    """ "In the queue" and "Training" stood there when all was done, until the next click."""
    page = context.new_page()
    page.set_default_timeout(TIMEOUT)
    said = place("lw_base_message", html.until_idle("Training.")) + place("lw_merge_saved", GOOD)
    page.set_content(f'<div id="lw_job"></div>{tab("merge", said)}')
    page.add_script_tag(path=str(SCRIPT))
    seen = []
    for state in ("idle", "running", "paused", "running", "idle", "running"):
        line = f'<div class="lw-job-line" data-state="{state}">x</div>'
        page.evaluate("html => { document.querySelector('#lw_job').innerHTML = html; }", line)
        page.evaluate("new Promise((done) => setTimeout(done, 0))")
        seen.append(page.locator(".lw-message:not([hidden])").count())
    page.close()
    assert seen == [2, 2, 2, 2, 1, 1]  # it does not come back with the next job


def test_every_answer_of_a_button_stands_where_the_next_click_finds_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A place of another name keeps its error for ever."""
    places: list[Any] = []

    def noted(trigger: Any, run: Any, inputs: Any, outputs: Any, **options: Any) -> Any:
        places.append(outputs[0])
        return connect(trigger, run, inputs, outputs, **options)

    connect = actions.connect
    monkeypatch.setattr(actions, "connect", noted)
    host = bare_host(tmp_path)
    build_page(Workbench(host), Pictures(host.paths), standalone=True)
    script = SCRIPT.read_text(encoding="utf-8")
    ends = re.findall(r'"(\w+)"', re.search(r"PLACES = \[(.*?)\]", script)[1])
    known = {one.elem_id: one for one in places}
    assert len(known) > 20 and "lw_ds_compose_message" in known and "lw_style_message" in known
    lost = {name for name in known if name.rpartition("_")[2] not in ends}
    assert lost == SHOWN and all("lw-html" in one.elem_classes for one in known.values())
