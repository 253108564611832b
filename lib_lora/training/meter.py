"""Losses that stay on the device until somebody looks."""

from __future__ import annotations

import math

import torch
from torch import Tensor

READ_EVERY = 10  # reading stalls a GPU until it has caught up; ten steps hide that


class Meter:
    """Collects (loss, gradient norm) per step without synchronising."""

    def __init__(self, device: torch.device):
        self.read_every = 1 if device.type == "cpu" else READ_EVERY
        self.last: float | None = None
        self._first_step = 0
        self._pending: list[Tensor] = []

    def add(self, step: int, loss: Tensor, grad_norm: Tensor) -> None:
        """Remember two scalars of ``step``."""
        if not self._pending:
            self._first_step = step
        self._pending.append(torch.stack((loss.detach().float(), grad_norm.detach().float())))

    @property
    def due(self) -> bool:
        """Whether enough steps have gathered to be worth a read."""
        return len(self._pending) >= self.read_every

    def read(self) -> list[tuple[int, float, float]]:
        """(step, loss, gradient norm) of every step since the last read; one transfer."""
        if not self._pending:
            return []
        values = torch.stack(self._pending).tolist()
        self._pending.clear()
        self.last = values[-1][0]
        return [(self._first_step + i, loss, norm) for i, (loss, norm) in enumerate(values)]


def first_broken(readings: list[tuple[int, float, float]]) -> tuple[int, str] | None:
    """Step and what was not finite in it, of the first reading with a NaN or infinity."""
    for step, loss, norm in readings:
        if not math.isfinite(loss):
            return step, "loss"
        if not math.isfinite(norm):
            return step, "gradient"
    return None
