"""Handlers of the Train and Runs tabs on a real workbench, as the page calls them, without a browser."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from time import sleep

import gradio as gr
import pytest
import torch

from lib_lora.adapters import Network, NetworkSpec
from lib_lora.models.base import ModelInfo
from lib_lora.training.config import TrainConfig
from lib_lora.training.presets import usual_preset
from lib_lora.training.state import Fingerprint, Position, StateSlots
from lib_lora.ui import form
from lib_lora.ui.files import Pictures
from lib_lora.ui.runs_tab import RunsTab
from lib_lora.ui.train_tab import TrainTab
from lib_lora.workbench import Workbench
from tests.training.worlds import image_folder, small_config

WAIT = 300


@pytest.fixture
def tabs(tiny_host) -> tuple[TrainTab, RunsTab]:
    torch.set_num_threads(1)
    bench = Workbench(tiny_host)
    pictures = Pictures(bench.host.paths)
    train, runs = TrainTab(bench, pictures), RunsTab(bench, pictures)
    with gr.Blocks():
        train.build()
        runs.build()
    runs.form = train.form
    return train, runs


def test_variants_notes_more_epochs_and_back_again(tabs: tuple[TrainTab, RunsTab], tmp_path: Path) -> None:
    train, runs = tabs
    bench = train.workbench
    config = small_config(image_folder(tmp_path / "set"), epochs=1, sample_prompts="mira --s 1")
    values = train.form.values(config)
    assert "2 runs and a grid" in train.run_variants("rank = 1, 2", *values)[0]
    assert bench.queue.wait(bench.queue.jobs()[-1].id, WAIT).state == "done"
    assert "Grid of the variants" in train.sweep_grid()

    run = next(run for run in bench.runs.list() if run.config().rank == 1)
    message, opened, _, details, notes, _, _ = runs.follow(f"open:{run.id}|17")
    assert (message, opened, notes) == ("", run.id, "") and "this one is rank 1" in details
    assert runs.details_of(run.id) is details  # drawn anew only when something changed
    assert "Notes saved" in runs.write_notes(run.id, "too dark ") and runs.write_notes(run.id, "too dark") == ""
    assert "too dark" in runs.now(run.id, [])[0]
    assert "1 more epoch" in runs.go_on(run.id, 1)
    assert bench.queue.wait(bench.queue.jobs()[-1].id, WAIT).state == "done"
    assert len(run.epochs()) == 2 and runs.details_of(run.id) is not details

    copy = train.form.config(runs.to_form(run.id)[3:])
    assert copy.name == "mira-rank1-2" and copy.rank == 1 and copy.epochs == 2
    other = next(r.id for r in bench.runs.list() if r.id != run.id)
    assert "<td>Rank</td><td>1</td><td>2</td>" in runs.show_several(run.id, [other])[1]
    assert len(runs.remove(run.id)) == 8 and run.id not in [r.id for r in bench.runs.list()]


def test_a_run_that_was_cut_off_says_from_which_step_it_goes_on(tabs: tuple[TrainTab, RunsTab], tmp_path: Path) -> None:
    """It goes on from its saved progress, which may be some steps behind the last one that was made."""
    _, runs = tabs
    run = runs.workbench.runs.create(small_config(image_folder(tmp_path / "set"), name="cut"))
    run.append_metrics([{"step": 6, "loss": 1.0}])
    layer = {"lora_unet_mid_block_attentions_0_proj_in": torch.nn.Linear(4, 4)}
    network = Network.create(layer, NetworkSpec(rank=2), 0)
    optimizer = torch.optim.AdamW(network.parameters())
    StateSlots(run.state).save(Position(4, Fingerprint("", "", "")), network, optimizer)
    assert run.steps == 6
    assert runs.what_comes(run.id, 1)[0]["value"] == "Continue cut from step 4"


def test_a_run_that_saved_nothing_starts_again(tabs: tuple[TrainTab, RunsTab], tmp_path: Path) -> None:
    """It failed before its first step, or was cut off before its progress was saved for the first time."""
    _, runs = tabs
    run = runs.workbench.runs.create(small_config(image_folder(tmp_path / "set"), name="early"))
    run.set_result("failed", 0, None, "no memory")
    assert runs.what_comes(run.id, 1)[0]["value"] == "Start early again"
    assert "Starts again from step 0" in runs.go_on(run.id, 1)


def test_a_waiting_run_is_changed_in_the_form(tabs: tuple[TrainTab, RunsTab], tmp_path: Path) -> None:
    train, _ = tabs
    bench, folder = train.workbench, image_folder(tmp_path / "set")
    first = bench.start_training(small_config(folder, "first", epochs=500))
    job = bench.start_training(small_config(folder, "second", epochs=1))
    taken = train.waiting.follow(f"change:{job}|17")
    assert taken[1] == job and train.form.config(taken[4:]).name == "second"
    changed = train.form.values(small_config(folder, "other", epochs=1))
    assert "other will be trained" in train.waiting.put_back(job, *changed)[0]
    assert [view.title for view in bench.queue.jobs()] == ["first", "other"]
    message, fault, *rest = train._guard(train.waiting.put_back, 3)(job, *train.form.values(small_config(folder, "")))
    assert "needs a name" in message and f"#{form.PREFIX}name" in fault and len(rest) == 3
    train.waiting.follow(f"out:{job}|18")
    bench.queue.stop(first)
    assert bench.queue.wait(job, WAIT).state == "cancelled"
    assert bench.queue.wait(first, WAIT).ended


def test_an_untouched_form_follows_the_checkpoint(
    tabs: tuple[TrainTab, RunsTab], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A web UI builds the page once, and another checkpoint is chosen after that."""
    train, _ = tabs
    for family in ("sd1", "sdxl"):
        chosen = ModelInfo("chosen", None, family, "epsilon", 8, 12)
        monkeypatch.setattr(train.workbench.host, "info", lambda chosen=chosen: chosen)
        found = json.loads(train.last_settings()[0])
        usual = usual_preset(chosen)
        assert found["lw_train_preset"] == usual.name
        assert found["lw_train_resolution"] == usual.applied_to(TrainConfig()).resolution
    train.form.keep("Mine", *train.form.values(small_config("sets", "typed")))
    assert json.loads(train.last_settings()[0])["lw_train_name"] == "typed"  # what was typed stays, whatever is chosen


def test_the_form_comes_back_as_it_was_left(tabs: tuple[TrainTab, RunsTab]) -> None:
    train, _ = tabs
    names = train.form.names
    count = 3 + len(train.form.curves)
    assert len(train.last_settings()) == count
    values = train.form.values(small_config("sets", "typed"))
    train.presets.save("Mine", replace(small_config("sets", "mine"), rank=3))
    train.form.keep("Mine", *values)
    kept, preset, changes, *curves = train.last_settings()
    assert "Mine" in preset["choices"]  # saved since the program started
    found = json.loads(kept)
    assert found == {"lw_train_preset": "Mine", **dict(zip([f"lw_train_{n}" for n in names], values, strict=True))}
    assert "changed" in changes and len(curves) == count - 3


def test_a_folder_that_is_not_there_hides_no_other_mistake(tabs: tuple[TrainTab, RunsTab], tmp_path: Path) -> None:
    train, _ = tabs
    wrong = train.form.values(small_config(tmp_path / "gone", "a/b", rank=-3))
    bench = train.workbench
    first = bench.start_training(small_config(image_folder(tmp_path / "set"), "first", epochs=500))
    while bench.queue.current() is None:
        sleep(0.01)
    said, frames, *_ = train._guard(train.run_start)(*wrong)  # refused as something runs: no field has to do with that
    bench.queue.stop(first)
    assert all(text in said for text in ("There is no such folder", "A name cannot contain", "Rank"))
    assert all(f"lw_train_{name}" in frames for name in ("data_dir", "name", "rank"))
