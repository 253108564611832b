"""What the training loop adds to forward, backward and optimizer: data, noise, loss, clipping, metrics and events.

A real run on a U-Net of SD1.5's size with random weights, at 256×256; text encoder and VAE are narrow ones, because
captions and latents are cached before the steps that count.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

from bench.start import write_pictures
from bench.step import clock
from lib_lora.demo.architecture import MINIATURE
from lib_lora.hosts.standalone import shape as shapes
from lib_lora.hosts.standalone.model import StandaloneModel
from lib_lora.hosts.standalone.session import borrowed
from lib_lora.hosts.standalone.shape import Shape
from lib_lora.models.base import HostPaths
from lib_lora.training.config import TrainConfig
from lib_lora.training.events import StepDone
from lib_lora.training.run_store import RunStore
from lib_lora.training.trainer import Trainer

FULL = replace(Shape(), vae_channels=MINIATURE.vae_channels, text_layers=1)
WARM_UP = 1


def run(shape: Shape = FULL, pixels: int = 256, steps: int = 3) -> dict[str, float]:
    """Measure ``steps`` steps with the threads torch has now.

    Returns:
        ``loop_overhead``: the time of the steps outside of forward, backward and optimizer ÷ the time within; and
        ``step_seconds``, all of a step.
    """
    with tempfile.TemporaryDirectory() as temporary:
        trainer = prepared(Path(temporary), shape, pixels, steps + WARM_UP)
        with borrowed(trainer.model):
            spent, whole = measured(trainer, steps)
    return {
        "loop_overhead": (whole - spent) / spent,
        "step_seconds": whole / steps,
        "threads": torch.get_num_threads(),
    }


def prepared(folder: Path, shape: Shape, pixels: int, steps: int) -> Trainer:
    """A trainer of a new run that is longer than ``steps``."""
    torch.manual_seed(0)
    modules = (shapes.build_unet(shape), shapes.build_vae(shape.vae_channels), shapes.build_text_encoder(shape))
    file = folder / "model.safetensors"
    file.write_bytes(b"")  # its hash identifies the model
    model = StandaloneModel("model", file, *modules)
    config = TrainConfig(
        name="loop", data_dir=str(write_pictures(folder / "pictures")), epochs=steps + 1, batch_size=1, te_lr=0.0,
        resolution=pixels, fixed_loss_images=0, sample_every_n_epochs=0,
    )  # fmt: skip
    paths = HostPaths(folder / "loras", folder, folder / "runs", folder / "data")
    return Trainer(RunStore(paths.runs).create(config), model, paths)


def measured(trainer: Trainer, steps: int) -> tuple[float, float]:
    """Seconds within forward, backward and optimizer, and of the whole steps, after the warm-up."""
    core = [0.0]
    events, marks = trainer.run(), []
    with ExitStack() as patches:
        for owner, name in ((trainer.model, "predict"), (trainer.model, "encode_text"), (torch.autograd, "backward")):
            patches.enter_context(patch.object(owner, name, timed(getattr(owner, name), core)))
        for event in events:
            if not isinstance(event, StepDone):
                continue
            if not marks:
                optimizer = trainer.session.optimizer
                patches.enter_context(patch.object(optimizer, "step", timed(optimizer.step, core)))
            marks.append((core[0], clock()))
            if len(marks) == WARM_UP + steps:
                break
        events.close()
    (first_core, first), (last_core, last) = marks[WARM_UP - 1], marks[-1]
    return last_core - first_core, last - first


def timed(function: Callable[..., Any], total: list[float]) -> Callable[..., Any]:
    """``function``, whose time is added to ``total``."""

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        with adding(total):
            return function(*args, **kwargs)

    return wrapper


@contextmanager
def adding(total: list[float]) -> Iterator[None]:
    """Add the time of a ``with`` block to ``total``."""
    start = clock()
    try:
        yield
    finally:
        total[0] += clock() - start
