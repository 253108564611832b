"""Short runs through the workbench, in a process that may have a graphics card of tests/card.py."""

from __future__ import annotations

import gc
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import torch
from PIL import Image

from lib_lora.hosts.standalone.host import StandaloneHost
from lib_lora.jobs.views import JobView
from lib_lora.training.config import TrainConfig
from lib_lora.workbench import Workbench
from tests.card import OnCard, insert
from tests.training.resume_worker import host_paths
from tests.training.worlds import small_config

WAIT = 120


def one_step(folder: Path, **changes) -> TrainConfig:
    """Settings of a run of one step on one picture, for tests of what is around it: one block's layers."""
    (folder / "1_girl").mkdir(parents=True)
    Image.new("RGB", (64, 64), "red").save(folder / "1_girl" / "0.png")
    settings = {"epochs": 1, "batch_size": 1, "te_lr": 0.0, "rank": 1, "fixed_loss_images": 0, "shuffle": False}
    settings |= {"layers": "down_blocks_0_attentions_0.*attn2"}
    return small_config(folder, **settings | changes)


def train(bench: Workbench, settings: TrainConfig, name: str) -> JobView:
    """Train to the end."""
    return bench.queue.wait(bench.start_training(replace(settings, name=name)), WAIT)


def tensors_on_a_card(root: Path, checkpoint: Path) -> list[int]:
    """How many there are with the model alone, and after runs that were done and that failed."""
    insert()
    torch.set_num_threads(1)
    host = StandaloneHost(host_paths(root, checkpoint), device="card", dtype=torch.float32)
    host.load(checkpoint.stem)
    bench, settings = Workbench(host), one_step(root / "set", optimizer="AdamW", ema_decay=0.9)
    with host.training_session() as model:  # what the model itself keeps on the card from its first use on
        model.schedule.snr(torch.zeros(1, dtype=torch.long).to(model.device))
    counts = [_tensors()]
    for state, broken in (("done", nullcontext()), ("failed", patch("torch.optim.AdamW.step", side_effect=ValueError))):
        with broken:
            view = train(bench, settings, state)
        assert view.state == state, view
        counts.append(_tensors())
    return counts


def _tensors() -> int:
    gc.collect()
    return sum(type(thing) is OnCard for thing in gc.get_objects())
