"""One of several processes that train together; used by test_parallel.py."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from lib_lora import cli
from lib_lora.hosts.standalone.host import StandaloneHost
from lib_lora.training.events import StepDone
from lib_lora.training.parallel import joined
from lib_lora.training.run_store import RunStore
from lib_lora.training.trainer import Trainer
from tests.training.resume_worker import host_paths


def take_place(rank: int, world: int, port: int) -> None:
    """What ``torchrun`` tells its processes."""
    torch.set_num_threads(1)
    place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": world, "MASTER_PORT": port, "MASTER_ADDR": "127.0.0.1"}
    os.environ.update({name: str(value) for name, value in place.items()})


def run_cli(rank: int, world: int, port: int, arguments: list[str]) -> None:
    """The command line in one process."""
    take_place(rank, world, port)
    raise SystemExit(cli.main(arguments))


def train_part(rank: int, world: int, port: int, root: Path, checkpoint: Path, run_id: str, stop_at: int) -> None:
    """Train ``run_id`` up to a step and stop there."""
    take_place(rank, world, port)
    host = StandaloneHost(host_paths(root, checkpoint), device="cpu")
    host.load(checkpoint.stem)
    run = RunStore(host.paths.runs).open(run_id)
    with joined() as parallel, host.training_session() as model:
        trainer = Trainer(run, model, host.paths, parallel=parallel)
        for event in trainer.run():
            if isinstance(event, StepDone) and event.step == stop_at:
                trainer.requests.add("stop")
