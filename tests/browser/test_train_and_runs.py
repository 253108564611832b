"""Train and Runs by clicking: settings from elsewhere, variants in the queue, notes, more epochs, a copy, a reload."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tests.browser.desk import Desk
from tests.training.worlds import image_folder

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from lib_lora.training.run_store import Run
    from lib_lora.workbench import Workbench

KOHYA = """
train_data_dir = '{folder}'
output_name = "mira"
network_dim = 2
network_alpha = 2
resolution = "64"
bucket_reso_steps = 16
max_train_epochs = 1
train_batch_size = 2
xformers = true
no_such_key = 1
"""

RUNS = "document.querySelector('#lw_runs_table .lw-runs-scroll')"


def test_train_and_runs(page: Page, workbench: Workbench, tmp_path: Path) -> None:
    desk = Desk(page, tmp_path / "pictures")
    folder = image_folder(workbench.host.paths.data / "sets" / "mira")
    desk.tab("Train")
    the_strip_stays_in_view(desk)
    browse(desk, folder)
    import_a_config(desk, tmp_path / "kohya.toml", folder)
    keep_a_preset(desk, workbench)
    nothing_typed_is_lost(desk)
    queue_variants(desk, workbench)
    open_a_run(desk, workbench)
    compare(desk, workbench)
    go_on_and_duplicate(desk, workbench)
    delete(desk, workbench)


def the_strip_stays_in_view(desk: Desk) -> None:
    """It was meant to, and scrolled away with the container."""
    top = "document.querySelector('#lw_status').getBoundingClientRect().top"
    desk.open("More settings")
    desk.page.wait_for_function("document.documentElement.scrollHeight > window.innerHeight + 300")
    desk.page.evaluate("window.scrollTo(0, document.documentElement.scrollHeight)")
    desk.page.wait_for_function("window.scrollY > 200")
    assert 0 <= desk.page.evaluate(top) < 5
    desk.page.evaluate("window.scrollTo(0, 0)")
    desk.open("More settings")


def browse(desk: Desk, folder: Path) -> None:
    desk.click("lw_browse")
    for name in (str(folder.parents[1]), "sets", "mira"):
        desk.page.locator(".lw-browse").get_by_role("button", name=name, exact=True).click()
    desk.sees(".lw-browse", "2_girl")
    desk.page.get_by_role("button", name="Use this folder").click()
    desk.page.wait_for_function("!document.querySelector('.lw-browse')")
    desk.sees_value("lw_train_data_dir", str(folder))


def import_a_config(desk: Desk, file: Path, folder: Path) -> None:
    file.write_text(KOHYA.format(folder=folder), encoding="utf-8")
    desk.open("Import, export and own presets")
    with desk.page.expect_file_chooser() as chooser:
        desk.click("lw_train_import")
    chooser.value.set_files(file)
    desk.says("lw_config_message", "1 unknown")
    desk.sees("#lw_config_report td", "no_such_key")
    desk.sees_value("lw_train_name", "mira")
    desk.click("lw_train_export")
    desk.sees("#lw_config_report pre", "network_dim = 2")


def keep_a_preset(desk: Desk, workbench: Workbench) -> None:
    desk.type("lw_preset_name", "My own")
    desk.click("lw_preset_save")
    desk.says("lw_config_message", "among the presets")
    assert [path.name for path in (workbench.host.paths.data / "presets").iterdir()] == ["My own.toml"]
    desk.sees("#lw_train_changes", "as the preset has them")


def nothing_typed_is_lost(desk: Desk) -> None:
    with desk.page.expect_response(lambda answer: '"girl"' in (answer.request.post_data or "")):
        desk.type("lw_train_trigger", "girl")
    for _ in range(2):  # a page that is loading must not write what it shows before it is filled
        desk.page.reload()
        desk.sees_value("lw_train_trigger", "girl")
        desk.sees_value("lw_train_name", "mira")
        desk.sees_value("lw_train_preset", "My own")
        desk.page.wait_for_function("document.querySelector('#lw_poll_key textarea, #lw_poll_key input').value")
    late_answers_take_nothing_away(desk)


def late_answers_take_nothing_away(desk: Desk) -> None:
    """What is being typed stays, whatever is set over it from elsewhere."""
    field = desk.page.locator("#lw_train_trigger textarea, #lw_train_trigger input")
    field.click()
    desk.page.keyboard.press("Control+a")
    desk.page.keyboard.type("woman")
    field.evaluate("(field) => { field.value = 'late'; }")
    desk.sees_value("lw_train_trigger", "woman")
    field.blur()
    desk.type("lw_train_trigger", "girl")


def queue_variants(desk: Desk, workbench: Workbench) -> None:
    desk.open("Variants: try several values of a setting")
    desk.type("lw_train_variants", "rank = two")
    desk.click("lw_train_add_variants")
    desk.says("lw_train_message", "Use numbers")
    desk.type("lw_train_variants", "rank = 1, 2")
    desk.page.locator("#lw_train_message .lw-error").wait_for(state="hidden")  # what it was about is corrected
    desk.click("lw_train_add_variants")
    desk.says("lw_train_message", "2 runs and a grid")
    desk.sees("#lw_train_sweep_grid figure", "Grid of the variants")
    found = {run.config().name: run.status for run in workbench.runs.list()}
    assert found == {"mira-rank1": "finished", "mira-rank2": "finished"}


def open_a_run(desk: Desk, workbench: Workbench) -> None:
    desk.tab("Runs")
    desk.page.locator("#lw_runs_table").get_by_role("button", name="mira-rank1", exact=True).click()
    desk.sees("#lw_runs_details", "this one is rank 1")
    desk.type("lw_runs_notes", "the hat is too dark")
    desk.says("lw_runs_message", "Notes saved")
    desk.page.reload()
    desk.sees("#lw_runs_details", "this one is rank 1")  # tab and run are as they were
    desk.sees_value("lw_runs_notes", "the hat is too dark")
    desk.sees("#lw_runs_table td", "the hat is too dark")
    assert run_called(workbench, "mira-rank1").notes() == "the hat is too dark\n"
    for width in (600, 900, 1280):  # the actions of a row are in view
        desk.page.set_viewport_size({"width": width, "height": 900})
        desk.page.wait_for_function(f"{RUNS}.clientWidth < {width} && {RUNS}.scrollWidth <= {RUNS}.clientWidth")


def compare(desk: Desk, workbench: Workbench) -> None:
    desk.click("lw_runs_compare")
    desk.says("lw_runs_message", "One run cannot be compared")
    desk.pick("lw_runs_other", run_called(workbench, "mira-rank2").id)
    desk.page.keyboard.press("Escape")
    desk.click("lw_runs_compare")
    desk.sees("#lw_runs_compared td", "Rank")
    desk.sees("#lw_runs_compared figure", "mira-rank2")


def go_on_and_duplicate(desk: Desk, workbench: Workbench) -> None:
    desk.type("lw_runs_more", 1)
    desk.click("lw_runs_continue")
    desk.says("lw_runs_message", "1 more epoch")
    workbench.queue.wait(workbench.queue.jobs()[-1].id, 120)
    run = run_called(workbench, "mira-rank1")
    assert run.config().epochs == 2 and len(run.epochs()) == 2
    desk.click("lw_runs_duplicate")
    desk.says("lw_train_message", "the settings of mira-rank1")
    desk.sees_value("lw_train_name", "mira-rank1-2")


def delete(desk: Desk, workbench: Workbench) -> None:
    desk.tab("Runs")
    for answer in ("lw_runs_no", "lw_runs_yes"):
        desk.click("lw_runs_delete")
        desk.says("lw_runs_question", "Its LoRA files stay")
        desk.click(answer)
        desk.page.locator("#lw_runs_question").wait_for(state="hidden")
    desk.says("lw_runs_message", "Moved to")
    assert [run.config().name for run in workbench.runs.list()] == ["mira-rank2"]
    assert workbench.lora_path("mira-rank1").is_file()


def run_called(workbench: Workbench, name: str) -> Run:
    return next(run for run in workbench.runs.list() if run.config().name == name)
