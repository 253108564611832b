"""Losses that stay on the device until somebody looks."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from lib_lora.errors import UserError

READ_EVERY = 10  # reading stalls a GPU until it has caught up; ten steps hide that


@dataclass(frozen=True)
class Reading:
    """What was measured in one step."""

    step: int
    lr: float
    loss: float
    grad_norm: float

    @property
    def broken(self) -> str | None:
        """``"loss"`` or ``"gradient"`` if that is NaN or infinite."""
        if not math.isfinite(self.loss):
            return "loss"
        return None if math.isfinite(self.grad_norm) else "gradient"


class Diverged(UserError):
    """Loss or gradient is no longer a number."""


def refuse_broken(readings: Iterable[Reading], name: str) -> None:
    """Raise Diverged if a step of the run ``name`` gave no number."""
    for reading in readings:
        if reading.broken:
            raise Diverged(
                f"The {reading.broken} became NaN or infinite in step {reading.step}",
                where=name,
                fix="Halve the learning rates and start again; the files saved before are good",
            )


class Meter:
    """Collects loss and gradient norm of each step without synchronising."""

    def __init__(self, device: torch.device):
        self.read_every = 1 if device.type == "cpu" else READ_EVERY
        self.last: float | None = None
        self._steps: list[tuple[int, float]] = []
        self._pending: list[Tensor] = []

    def add(self, step: int, lr: float, loss: Tensor, grad_norm: Tensor) -> None:
        """Remember the two scalars on the device."""
        self._steps.append((step, lr))
        self._pending.append(torch.stack((loss.detach().float(), grad_norm.detach().float())))

    @property
    def due(self) -> bool:
        """Whether enough steps have gathered to be worth a read."""
        return len(self._pending) >= self.read_every

    def read(self) -> list[Reading]:
        """Every step since the last read; one transfer."""
        if not self._pending:
            return []
        values = torch.stack(self._pending).tolist()
        readings = [Reading(*step, *value) for step, value in zip(self._steps, values, strict=True)]
        self._steps.clear()
        self._pending.clear()
        self.last = readings[-1].loss
        return readings
