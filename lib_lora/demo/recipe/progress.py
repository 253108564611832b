"""A clock for budgeted training, and states that survive being interrupted."""

from __future__ import annotations

import time
from pathlib import Path

import torch

from ...files import atomic_write


class Progress:
    """Counts steps and samples against a time budget in seconds and prints a line now and then."""

    def __init__(self, seconds: float, every: float = 20.0):
        self.seconds, self.every = seconds, every
        self.step = self.samples = 0
        self._start = self._printed = self._saved = time.monotonic()
        self._mean: dict[str, float] = {}

    @property
    def elapsed(self) -> float:
        """Seconds since it was made."""
        return time.monotonic() - self._start

    @property
    def share(self) -> float:
        """Share of the budget that is spent, 0 … 1."""
        return min(1.0, self.elapsed / self.seconds)

    def tick(self, samples: int, **values: torch.Tensor) -> None:
        """Count a step of ``samples`` pictures; ``values`` go into the running means that are printed now and then."""
        self.step += 1
        self.samples += samples
        for name, value in values.items():
            v = float(value.detach())
            self._mean[name] = v if name not in self._mean else 0.98 * self._mean[name] + 0.02 * v
        if time.monotonic() - self._printed > self.every:
            self._printed = time.monotonic()
            shown = " ".join(f"{n} {v:.4f}" for n, v in self._mean.items())
            print(f"step {self.step}  {self.elapsed:.0f} s  {self.samples / self.elapsed:.1f}/s  {shown}", flush=True)

    def due(self, seconds: float) -> bool:
        """True once every ``seconds``: time to save."""
        if time.monotonic() - self._saved < seconds:
            return False
        self._saved = time.monotonic()
        return True


def save_state(path: Path, state: dict) -> None:
    """Write a training's state, whole or not at all."""
    with atomic_write(path) as part:
        torch.save(state, part)
