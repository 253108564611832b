"""Folders that are read-only, or another user's: all can be looked at, and what cannot be done says why.

The tests may run as root, for whom nothing is read-only; so it is the operations that are refused.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.faults.disk import READ_ONLY, Disk
from lib_lora.dataset.editor import DatasetEditor
from lib_lora.dataset.tags.edits import Add
from lib_lora.errors import UserError
from lib_lora.hosts.standalone.host import StandaloneHost
from lib_lora.tools.merge import merge
from lib_lora.workbench import Workbench
from tests.training.worlds import image_folder, small_config

WAIT = 300


def every_byte(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refused(work: Callable[[], Any]) -> UserError:
    with pytest.raises(UserError) as caught:
        work()
    return caught.value


def test_what_may_only_be_read_can_be_looked_at(tiny_host: StandaloneHost, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    images = image_folder(tmp_path / "set")
    config = small_config(images, epochs=1, fixed_loss_images=0, rank=1)
    first = Workbench(tiny_host)
    view = first.queue.wait(first.start_training(config), WAIT)
    assert view.state == "done", view.traceback
    DatasetEditor([images], tmp_path / "cache")
    before = every_byte(tmp_path)
    with Disk(tmp_path, at=1, kind=READ_ONLY).mounted():
        bench = Workbench(StandaloneHost(tiny_host.paths))
        bench.host.load("tiny")
        (run,) = bench.runs.list()
        assert run.status == "finished" and run.metrics() and [f.epoch for f in bench.epoch_files(run.id)] == [1]
        assert [lora.name for lora in bench.list_loras()] == ["mira"]
        merged = merge("mira:0.5", tiny_host.paths.loras)
        assert merged.file().modules
        editor = DatasetEditor([images], tmp_path / "cache")
        assert len(editor.pictures) > 1
        change = editor.plan_tags(Add(("hat",)), "Add")
        for work in (
            lambda: merged.save(tiny_host.paths.loras / "half.safetensors"),
            lambda: list(editor.apply(change)),
            lambda: run.set_notes("x"),
            lambda: bench.delete_run(run.id),
            lambda: bench.start_training(small_config(images, name="rin")),
        ):
            error = refused(work)
            assert str(tmp_path) in (error.where or "") and error.fix, error
    assert every_byte(tmp_path) == before
