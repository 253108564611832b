"""A damaged file of a run costs itself: whatever is in it, the lists, the page and the API go on, and name it."""

from __future__ import annotations

import json
import os
import random
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lib_lora.api import views
from lib_lora.errors import UserError
from lib_lora.models.base import HostPaths
from lib_lora.tools.mixture import Mixture
from lib_lora.tools.picks import Pick, Picks, write_picks
from lib_lora.training.config import TrainConfig
from lib_lora.training.run import Run
from lib_lora.ui.files import Pictures
from lib_lora.ui.grid_place import GridPlace
from lib_lora.ui.grid_view import GridView
from lib_lora.ui.run_details import comparison, details
from lib_lora.ui.runs_table import RunsTable
from lib_lora.workbench import Workbench
from tests.rounds import rounds

ROUNDS = rounds(450)
NAMES = (
    "run.json", "config.toml", "state/config.toml", "metrics.jsonl", "epochs.json", "result.json", "chosen.json",
    "sweep.json", "extensions.json", "warnings.jsonl", "notes.txt", "grid/grid.json", "grid/picks.json",
    "grid/likeness.json", "mixture.json",
)  # fmt: skip
VALUES: tuple[Any, ...] = (
    None, True, -1, 10**400, 1e308, float("nan"), float("inf"), "", "x", "../../x", "a\0b", [], [[]], {}, {"epoch": 1},
    [1, 2], "9" * 5000,
)  # fmt: skip


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workbench, Run]:
    root = tmp_path_factory.mktemp("whole")
    paths = HostPaths(*(root / name for name in ("loras", "models", "runs", "data")))
    bench = Workbench(SimpleNamespace(paths=paths, info=lambda: None))
    bench.runs.create(TrainConfig(name="other", data_dir="x"))
    run = bench.runs.create(TrainConfig(name="mira", data_dir="x"))
    rows = [{"step": step, "loss": 0.1, "lr": 1e-4, "grad_norm": 1.0} for step in range(1, 9)]
    run.append_metrics(rows)
    lora = root / "a.safetensors"
    lora.touch()
    for epoch in (1, 2):
        measured = {"fixed_loss": 0.1 * epoch, "fixed_losses": [0.1, 0.2, 0.3, 0.4 * epoch], "validation_loss": None}
        run.add_epoch({"epoch": epoch, "step": 4 * epoch, "running_loss": 0.1, "lora_path": str(lora), **measured})
    run.set_result("finished", 8, lora)
    run.choose(1, 0.8)
    run.extended(1)
    run.join_sweep("rank 4", root)
    run.set_notes("good hair — keep")
    run.set_mixture(Mixture({1: 0.5, 2: 0.4}, 0.1, 2, 0.2, 0.01, 0.001, 6, 20).plain())
    run.add_warning("no preview")
    grid = run.folder / "grid"
    grid.mkdir()
    cell = {"file": "e1", "weight": 0.8, "prompt": "p", "seed": 1, "blocks": "", "image": "a.png"}
    table = {"title": "t", "columns": ["c"], "rows": ["r"], "cells": [[0]]}
    files = [{"label": "e1", "path": str(lora)}]
    size = {"width": 8, "height": 8}
    document = {"files": files, "prompts": ["p"], "columns": "file", "rows": "seed", "settings": size}
    (grid / "grid.json").write_text(json.dumps({**document, "cells": [cell], "tables": [table]}), encoding="utf-8")
    (grid / "a.png").touch()
    write_picks(grid, Picks((Pick("e1", 0.8),), Pick("e1", 0.8)))
    (grid / "likeness.json").write_text('{"e1": {"mean": 0.5, "copies": 0.1}}', encoding="utf-8")
    return bench, run


def damaged(data: bytes, dice: random.Random) -> bytes:
    """What crashes, editors and hands make of a file."""
    kind = dice.randrange(8)
    if kind == 0:
        return data[: dice.randrange(len(data) + 1)]
    if kind == 1:
        return b"\0" * len(data)
    if kind == 2:
        return bytes(dice.randrange(256) for _ in range(dice.randrange(1, 60)))
    if kind == 3:
        return "größe".encode("cp1252") + data
    if kind == 4:
        return b"[" * 50_000 + data
    try:
        content = json.loads(data)
    except ValueError:
        lines = data.splitlines(keepends=True)
        lines[dice.randrange(len(lines))] = json.dumps(dice.choice(VALUES)).encode()
        return b"".join(lines)
    return json.dumps(_changed(content, dice)).encode() if kind < 7 else json.dumps(dice.choice(VALUES)).encode()


def _changed(content: Any, dice: random.Random) -> Any:
    """With one value replaced or gone, however deep."""
    if isinstance(content, dict) and content and dice.random() < 0.9:
        key = dice.choice(list(content))
        if dice.random() < 0.2:
            return {name: value for name, value in content.items() if name != key}
        return {**content, key: _changed(content[key], dice)}
    if isinstance(content, list) and content and dice.random() < 0.9:
        place = dice.randrange(len(content))
        return [*content[:place], _changed(content[place], dice), *content[place + 1 :]]
    return dice.choice(VALUES)


def look_at_everything(bench: Workbench, run_id: str, pictures: Pictures, *, side_by_side: bool = True) -> None:
    """As the page and the API do; only a named mistake may come out of looking at the run itself."""
    ids = [run.id for run in bench.runs.list()]
    assert run_id in ids and len(ids) == 2
    assert [config.name for _, config in bench.runs.with_config()]
    table = RunsTable(bench.runs).draw(ids, {}, None)
    assert table.count("<tr") == 3
    run = bench.runs.open(run_id)
    run.damaged(), run.warnings(), run.mean_loss(0), run.extensions(), run.status, run.notes()
    bench.epoch_files(run_id)
    place = GridPlace(bench, run_id)
    if grid := place.read():
        view = GridView(grid, place.folder, {}, place.picks(), pictures)
        view.render(), view.starred()
    for look in (
        lambda: details(run, None, pictures),
        lambda: side_by_side and comparison([run, run]),
        lambda: json.dumps(views.finite(views.run_details(bench, run)), allow_nan=False),
    ):
        try:
            look()
        except UserError as error:
            assert "config.toml" in str(error)


def test_no_damage_reaches_beyond_its_file(whole: tuple[Workbench, Run]) -> None:
    bench, run = whole
    dice, pictures = random.Random(12), Pictures(bench.host.paths)
    look_at_everything(bench, run.id, pictures)
    assert run.damaged() == {}
    content = {name: (run.folder / name).read_bytes() for name in NAMES}
    for number in range(ROUNDS):
        name = NAMES[number % len(NAMES)]
        new = damaged(content[name], dice)
        (run.folder / name).write_bytes(new)
        try:
            look_at_everything(bench, run.id, pictures, side_by_side=number % 10 == 0)
        except Exception as error:
            raise AssertionError(f"{name} with {new[:200]!r}") from error
        finally:
            (run.folder / name).write_bytes(content[name])


@pytest.mark.parametrize("name", ["epochs.json", "result.json", "chosen.json", "run.json", "sweep.json"])
@pytest.mark.parametrize("what", [b"{", b"\xff\xfe{", b'"x"', None], ids=["cut off", "encoding", "text", "folder"])
def test_the_damaged_file_is_named(whole: tuple[Workbench, Run], tmp_path: Path, name: str, what: bytes | None) -> None:
    bench, run = whole
    shutil.copytree(run.folder, tmp_path / "runs" / run.id)
    store = type(bench.runs)(tmp_path / "runs")
    path = tmp_path / "runs" / run.id / name
    path.unlink()
    path.mkdir() if what is None else path.write_bytes(what)
    found = store.open(run.id)
    (fault,) = found.damaged().values()
    assert str(path) in fault and "Delete it" in fault
    assert name in RunsTable(store).draw([run.id], {}, None)
    pictures = Pictures(replace(bench.host.paths, runs=tmp_path / "runs"))
    assert str(path) in details(found, None, pictures)


def test_what_a_damaged_file_said_is_kept_when_it_is_written_anew(whole: tuple[Workbench, Run], tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(whole[1].folder, folder)
    run = replace(whole[1], folder=folder)
    (folder / "epochs.json").write_bytes(b'[{"epoch": 1, "st')
    run.set_epoch({"epoch": 3, "step": 9})
    assert [row["epoch"] for row in run.epochs()] == [3]
    assert (folder / "epochs.json.damaged").read_bytes() == b'[{"epoch": 1, "st'


def test_notes_of_an_old_editor_are_read(whole: tuple[Workbench, Run], tmp_path: Path) -> None:
    run = replace(whole[1], folder=tmp_path)
    (tmp_path / "notes.txt").write_bytes("schöne Haare".encode("cp1252"))
    assert run.notes() == "schöne Haare"


def test_a_pipe_is_not_waited_for(whole: tuple[Workbench, Run], tmp_path: Path) -> None:
    bench, run = whole
    shutil.copytree(run.folder, tmp_path / run.id)
    for name in NAMES:
        (tmp_path / run.id / name).unlink()
        os.mkfifo(tmp_path / run.id / name)
    found = type(bench.runs)(tmp_path).open(run.id)
    assert found.damaged() and found.metrics() == [] and found.notes() == ""
    with pytest.raises(UserError):
        found.config()
