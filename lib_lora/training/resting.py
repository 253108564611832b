"""What a run alone holds on the GPU goes to main memory while the run is paused."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from lib_lora.training.optimizer_state import optimizer_state
from lib_lora.training.update import Update

MAIN_MEMORY = torch.device("cpu")


def held(update: Update) -> Iterator[Tensor]:
    """What a run keeps between two steps: weights, moments, averages and encoded captions; gradients there are none."""
    for adapter in update.network.adapters.values():
        yield from adapter.parameters()
        yield from adapter.buffers()
    yield from optimizer_state(update.network, update.optimizer)[0].values()
    yield from update.averaging.mean
    yield from update.denoiser.known_captions.values()


class Resting:
    """Tensors in main memory that belong elsewhere. Each stays the same object, so whoever has it still has it."""

    def __init__(self) -> None:
        self._homes: list[tuple[Tensor, torch.device]] = []

    def send(self, tensors: Iterable[Tensor]) -> None:
        """Move ``tensors`` out of the GPU; those in main memory stay."""
        for tensor in tensors:
            if tensor.device != MAIN_MEMORY:
                self._homes.append((tensor, tensor.device))
                tensor.data = tensor.data.to(MAIN_MEMORY)
        if self._homes and torch.cuda.is_available():
            torch.cuda.empty_cache()

    def call_back(self) -> None:
        """Move all of them to where they were; if the memory is short, those that are left can be called again."""
        while self._homes:
            tensor, home = self._homes[-1]
            tensor.data = tensor.data.to(home)
            self._homes.pop()
