"""A process with a graphics card of tests/card.py; apart from the others, whose PyTorch must not know of it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lib_lora.hosts.standalone.host import StandaloneHost
from lib_lora.models.base import GenerationRequest
from lib_lora.training.events import Finished, StepDone
from lib_lora.training.run_store import RunStore
from lib_lora.training.trainer import Trainer
from tests.card import CARD, insert, memory, waits
from tests.hosts.common import visible_network
from tests.training.resume_worker import host_paths
from tests.training.worlds import image_folder, small_config


@dataclass
class Trained:
    """A run on one device: its file, and what each step waited for."""

    file: Path
    steps: list[list[str]] = field(default_factory=list)


def train(root: Path, checkpoint: Path, device: str, changes: dict[str, Any]) -> Trained:
    """An epoch of three steps on ``"card"`` or ``"cpu"``."""
    insert()
    torch.set_num_threads(1)
    host = StandaloneHost(host_paths(root / device, checkpoint), device=device, dtype=torch.float32)
    host.load(checkpoint.stem)
    config = small_config(image_folder(root / device / "set"), epochs=1, **{"optimizer": "AdamW", **changes})
    trained = Trained(host.paths.loras / "mira.safetensors")
    with host.training_session() as model:
        for event in Trainer(RunStore(host.paths.runs).create(config), model, host.paths).run():
            if isinstance(event, StepDone):
                trained.steps.append(waits())
            waits()
    return trained


@dataclass
class Stored:
    """A run on the card: its file, the bytes of the U-Net's weights, and the most that was on the card in its steps."""

    file: Path
    weights: int
    peak: int
    finished: bool


def train_stored(root: Path, checkpoint: Path, changes: dict[str, Any], limit: float = math.inf) -> Stored:
    """Two steps on the card, of which no more than ``limit`` bytes are used."""
    insert()
    torch.set_num_threads(1)
    torch.__future__.set_overwrite_module_params_on_conversion(True)  # the card's double cannot move a tensor's data
    memory.counting = True
    host = StandaloneHost(host_paths(root, checkpoint), device=CARD, dtype=torch.float32)
    host.load(checkpoint.stem)
    config = small_config(image_folder(root / "set"), epochs=1, optimizer="AdamW", te_lr=0.0, fixed_loss_images=0,
                          shuffle=False, trigger="", gradient_checkpointing=True, **changes)  # fmt: skip
    try:
        with host.training_session() as model:
            weights = sum(p.numel() * p.element_size() for p in model.unet.parameters())
            for event in Trainer(RunStore(host.paths.runs).create(config), model, host.paths).run():
                if isinstance(event, StepDone) and memory.limit == math.inf:  # the first step places what is used
                    memory.limit, memory.peak = limit, memory.used
                if isinstance(event, StepDone):
                    peak = memory.peak
                if isinstance(event, Finished):  # the base comes back
                    memory.limit = math.inf
    finally:
        memory.limit, memory.counting = math.inf, False
    return Stored(host.paths.loras / "mira.safetensors", weights, peak, isinstance(event, Finished))


def draw(root: Path, checkpoint: Path, device: str) -> np.ndarray:
    """Pixels of a picture with a LoRA."""
    insert()
    torch.set_num_threads(1)
    host = StandaloneHost(host_paths(root / device, checkpoint), device=device, dtype=torch.float32)
    host.load(checkpoint.stem)
    request = GenerationRequest("girl, (red hat:1.3)", width=64, height=64, steps=3, seed=5)
    return np.asarray(host.generate([request], [visible_network(host)])[0])


def add_across() -> torch.Tensor:
    """What no card does."""
    insert()
    return torch.ones(2, device=CARD) + torch.ones(2)
