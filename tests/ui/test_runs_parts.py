"""Table, details and comparison of runs on disk, without a page."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from PIL import Image

from lib_lora.models.base import HostPaths
from lib_lora.training.best_epoch import Difference, Suggestion
from lib_lora.training.config import TrainConfig
from lib_lora.training.run import Run
from lib_lora.training.run_store import RunStore
from lib_lora.ui.files import Pictures
from lib_lora.ui.run_details import comparison, details
from lib_lora.ui.run_log import run_log
from lib_lora.ui.run_view import best_epoch_text
from lib_lora.ui.runs_table import RunsTable


@pytest.fixture
def paths(tmp_path: Path) -> HostPaths:
    return HostPaths(tmp_path / "loras", tmp_path / "models", tmp_path / "runs", tmp_path / "data")


@pytest.fixture
def store(paths: HostPaths) -> RunStore:
    times = iter(range(1_700_000_000, 1_800_000_000, 100))
    return RunStore(paths.runs, clock=lambda: float(next(times)))


def trained(store: RunStore, name: str = "mira", **changes) -> Run:
    run = store.create(TrainConfig(name=name, data_dir="x", model="tiny", **changes))
    run.append_metrics([{"step": s, "loss": 1 / s, "lr": 1.0, "grad_norm": 1.0} for s in range(1, 7)])
    for epoch in (1, 2):
        losses = [0.3 / epoch + 0.01 * i for i in range(4)]
        row = {"epoch": epoch, "step": 3 * epoch, "running_loss": 0.1, "lora_path": None}
        run.add_epoch({**row, "fixed_loss": sum(losses) / 4, "fixed_losses": losses})
    run.set_result("finished", 6)
    return run


def test_table_follows_the_folders(store: RunStore) -> None:
    table = RunsTable(store)
    assert table.draw([], {}, None) == ""
    run, fresh = trained(store), store.create(TrainConfig(name="<b>", data_dir="x"))
    cut = store.create(TrainConfig(name="cut", data_dir="x"))
    cut.append_metrics([{"step": s, "loss": 1.0, "lr": 1.0, "grad_norm": 1.0} for s in range(1, 15)])
    names = [r.id for r in store.list()]
    shown = table.draw(names, {fresh.id: "waiting"}, run.id)
    assert "finished" in shown and "in the queue" in shown and "cut off" in shown and "&lt;b&gt;" in shown
    assert "0.1650 (epoch 2)" in shown and shown.count("lw-marked") == 1
    assert "<td>14</td><td>cut off" in shown
    assert "not begun" in table.draw(names, {}, None)
    fresh.set_result("failed", 0, None, "no memory")
    failed = table.draw(names, {}, None)
    assert "failed before the first step" in failed
    assert failed.count(">Start again<") == 1 and failed.count(">Continue<") == 2
    run.set_notes("too dark " * 40)
    run.choose(2, 0.8)
    again = table.draw(names, {}, run.id)
    assert "epoch 2 at 0.8" in again and "too dark" in again and "…" in again
    assert table.draw(["gone"], {}, None) == ""


def test_a_run_with_unreadable_settings_says_so_in_its_row(store: RunStore) -> None:
    good, bad = trained(store), trained(store, "bad")
    (bad.folder / "config.toml").write_text("rank = = 4", encoding="utf-8")
    shown = RunsTable(store).draw([bad.id, good.id], {}, None)
    assert shown.count("open:") == 2 and "not a TOML file" in shown and bad.id in shown


def test_details_have_all_that_is_known(store: RunStore, paths: HostPaths) -> None:
    run = trained(store, rank=5)
    run.samples.mkdir()
    Image.new("RGB", (8, 8)).save(run.samples / "e000002_s00000006_00.png")
    (run.folder / "backups").mkdir()
    (run.folder / "backups" / "step00000003.safetensors").write_bytes(b"x")
    grid = paths.data / "grids" / "mira-variants"
    grid.mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(grid / "grid.png")
    run.join_sweep("rank 5", grid)
    shown = details(run, None, Pictures(paths))
    for part in ("6 steps", str(run.folder), "lw-chart", "Epoch 2 has the lowest", "epoch 2, step 6", "Rank",
                 f"back:{run.id}:3", "this one is rank 5", "grid.png"):  # fmt: skip
        assert part in shown, part
    empty = details(store.create(TrainConfig(name="new", data_dir="x")), "waiting", Pictures(paths))
    assert "No step was recorded yet" in empty and "in the queue" in empty


def test_runs_of_one_name_are_told_apart(store: RunStore) -> None:
    first, second, third = trained(store), trained(store, rank=5), trained(store, "other")
    shown = comparison([first, second, third])
    assert first.id in shown and second.id in shown and "other" in shown
    assert shown.count("<svg") == 2 and "lw-run-2" in shown
    assert "<td>Rank</td><td>16</td><td>5</td><td>16</td>" in shown
    assert "same settings" in comparison([first, first])


def test_how_sure_an_epoch_is() -> None:
    def said(*differences: Difference, pictures: int = 8) -> str:
        return best_epoch_text(Suggestion(4, 0.12, "fixed noise", pictures, differences))

    assert "cannot be told from 2 images" in said(pictures=2)
    assert "clearly lower" in said(Difference(3, 0.02, 0.001))
    assert "Epoch 5 is as good" in said(Difference(3, 0.02, 0.001), Difference(5, 0.001, 0.001))
    assert "Epochs 3, 5 are as good" in said(Difference(3, 0.001, 0.001), Difference(5, 0.001, 0.001))
    assert "held-out" in best_epoch_text(Suggestion(1, 0.1, "validation", 4, ()))


def test_the_log_follows_the_steps_also_when_the_clock_is_set_back(store: RunStore, tmp_path: Path) -> None:
    run = store.create(TrainConfig(name="mira", data_dir="x", model="tiny"))
    run.samples.mkdir(parents=True, exist_ok=True)
    at = run.record.created
    for epoch in (1, 2):
        lora, sample = tmp_path / f"mira-{epoch}.safetensors", run.samples / f"e{epoch:06}_s{3 * epoch:06}_00.png"
        for path in (lora, sample):
            path.write_bytes(b"x")
            at -= 3600
            os.utime(path, (at, at))
        run.add_epoch({"epoch": epoch, "step": 3 * epoch, "running_loss": 0.1, "lora_path": str(lora)})
    run.set_result("finished", 6)
    os.utime(run.folder / "result.json", (at - 3600, at - 3600))
    shown = run_log(run)
    said = ("Finished at step 6", "drawn, epoch 2", "Epoch 2 saved", "drawn, epoch 1", "Epoch 1 saved", "Started")
    places = [shown.index(text) for text in said]
    assert places == sorted(places)
