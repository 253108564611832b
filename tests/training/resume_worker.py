"""A process that trains a run and can be stopped dead at a chosen point; used by test_resume.py."""

from __future__ import annotations

import os
import time
from multiprocessing.connection import Connection
from pathlib import Path

import torch

from lib_lora.hosts.standalone.host import StandaloneHost
from lib_lora.models.base import HostPaths
from lib_lora.training.events import StepDone
from lib_lora.training.run_store import RunStore
from lib_lora.training.trainer import Trainer


def host_paths(root: Path, checkpoint: Path) -> HostPaths:
    return HostPaths(root / "loras", checkpoint.parent, root / "runs", root / "data")


def train(root: Path, checkpoint: Path, run_id: str, reports: Connection, halt_at_write: int = 0) -> None:
    """Train to the end, reporting steps; with ``halt_at_write`` stop for ever inside the n-th file write."""
    torch.set_num_threads(1)
    if halt_at_write:
        _halt_in_write(halt_at_write, reports)
    host = StandaloneHost(host_paths(root, checkpoint), device="cpu")
    host.load(checkpoint.stem)
    with host.training_session() as model:
        for event in Trainer(RunStore(host.paths.runs).open(run_id), model, host.paths).run():
            if isinstance(event, StepDone):
                reports.send(("step", event.step))
    reports.send(("end", 0))


def _halt_in_write(count: int, reports: Connection) -> None:
    """From the n-th ``fsync`` on, wait with a written but not yet renamed file until the process is killed."""
    fsync, calls = os.fsync, []

    def halting_fsync(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) < count:
            return fsync(descriptor)
        reports.send(("in write", count))
        while True:
            time.sleep(60)

    os.fsync = halting_fsync
