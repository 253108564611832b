"""The strip of five steps, from what is on the disk."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

from lib_lora.models.base import HostPaths
from lib_lora.training.config import TrainConfig
from lib_lora.training.run import PUBLISHED
from lib_lora.ui.way import Way, way_view
from lib_lora.workbench import Workbench


def test_each_step_is_known_from_the_disk(tmp_path: Path) -> None:
    paths = HostPaths(*(tmp_path / name for name in ("loras", "models", "runs", "data")))
    bench = Workbench(SimpleNamespace(paths=paths))
    way, opened = Way(bench, lambda: None), Way(bench, lambda: (tmp_path / "mira", 3))

    def done(which: Way = way) -> list[bool]:
        return [step.done for step in which.steps()]

    assert done() == [False] * 5 and done(opened) == [True, False, False, False, False]
    assert "mira · 3 images" in way_view(opened.steps())
    assert "<small>mira<" in way_view(Way(bench, lambda: (tmp_path / "mira", None)).steps())  # before a restart
    run = bench.runs.create(TrainConfig(name="mira", data_dir=str(tmp_path / "set"), model="x"))
    assert done() == [True, False, False, False, False]
    here = Way(bench, lambda: (tmp_path / "set", 3))
    run.add_epoch({"epoch": 1, "step": 3, "running_loss": 0.1, "lora_path": "mira.safetensors"})
    assert done() == done(here) == [True, True, False, False, False]
    assert done(opened) == [True, False, False, False, False]  # nothing was trained on the set that is open
    run.choose(1, 0.8)
    assert "epoch 1 at 0.8" in way_view(way.steps()) and "data-lw-lora" not in way_view(way.steps())  # no such file
    paths.loras.mkdir(parents=True)
    (paths.loras / "mira.safetensors").write_bytes(b"")
    run.add_epoch({"epoch": 2, "step": 6, "running_loss": 0.1, "lora_path": str(paths.loras / "mira.safetensors")})
    run.choose(2, 0.8)
    assert 'data-lw-tab="Publish" data-lw-lora="mira"' in way_view(way.steps())
    (run.folder / PUBLISHED).write_text("{}")
    assert done() == [True] * 5


def test_the_first_step_that_is_not_done_stands_out(tmp_path: Path) -> None:
    paths = HostPaths(*(tmp_path / name for name in ("loras", "models", "runs", "data")))
    shown = way_view(Way(Workbench(SimpleNamespace(paths=paths)), lambda: (Path("a&b"), 1)).steps())
    assert shown.count('aria-current="step"') == 1 and "a&amp;b" in shown
    assert shown.index("lw-done") < shown.index("lw-next") < shown.index("Train")
