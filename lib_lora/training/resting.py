"""What a run alone holds on the GPU goes to main memory while the run is paused."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

MAIN_MEMORY = torch.device("cpu")


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
