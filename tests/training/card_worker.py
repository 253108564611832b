"""A process with a graphics card of tests/card.py; apart from the others, whose PyTorch must not know of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lib_lora.hosts.standalone.host import StandaloneHost
from lib_lora.models.base import GenerationRequest
from lib_lora.training.events import StepDone
from lib_lora.training.run_store import RunStore
from lib_lora.training.trainer import Trainer
from tests.card import CARD, insert, waits
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
