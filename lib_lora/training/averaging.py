"""The weights that are saved and shown, where those are not the ones being trained: an EMA, or schedule-free's mean."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from lib_lora.adapters.network import Network


@runtime_checkable
class Switched(Protocol):
    """An optimizer that keeps an average of its own (schedule-free): ``eval()`` shows it, ``train()`` goes on."""

    def eval(self) -> None:
        """Put in the weights that are to be looked at."""

    def train(self) -> None:
        """Put back the weights that are trained."""


class Averaging:
    """Keeps an exponential moving average of the network, if asked to, and swaps averaged weights in and out.

    Args:
        network: the one in training.
        optimizer: one with ``eval()`` and ``train()`` (schedule-free) keeps its own average.
        decay: of the EMA; 0 is off. Early steps use (1 + step)/(10 + step) where that is smaller, so the start is
            forgotten.
    """

    def __init__(self, network: Network, optimizer: torch.optim.Optimizer, decay: float):
        self.optimizer = optimizer
        self.decay = decay
        self.parameters: list[Tensor] = list(network.parameters())
        self.mean: list[Tensor] = [p.detach().clone() for p in self.parameters] if decay else []

    def update(self, step: int) -> None:
        """Take in the weights after ``step`` steps."""
        if self.mean:
            decay = min(self.decay, (1 + step) / (10 + step))
            with torch.no_grad():
                torch._foreach_lerp_(self.mean, self.parameters, 1 - decay)

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Averaged weights in the network within a ``with`` block; afterwards it is bit for bit as before."""
        own = self.optimizer if isinstance(self.optimizer, Switched) else None
        if not self.mean and own is None:
            yield
            return
        trained = [p.detach().clone() for p in self.parameters]
        if own is not None:
            own.eval()
        if self.mean:
            self._put(self.mean)
        try:
            yield
        finally:
            if own is not None:
                own.train()
            self._put(trained)  # last: what train() computes back is off by rounding

    def tensors(self) -> dict[str, Tensor]:
        """The EMA as named tensors, for the saved state; empty without one."""
        return {f"{i:05d}": mean for i, mean in enumerate(self.mean)}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Take back what :meth:`tensors` gave."""
        for i, mean in enumerate(self.mean):
            mean.copy_(tensors[f"{i:05d}"])

    def _put(self, values: list[Tensor]) -> None:
        with torch.no_grad():
            for parameter, value in zip(self.parameters, values, strict=True):
                parameter.copy_(value)
