"""A card: what it is, when it is done, what it holds, and how fast it multiplies."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

from lib_lora.errors import UserError
from lib_lora.models.memory import first_card, free_memory


class Card:
    """One device, by what its backend in torch offers; what it does not offer is left out."""

    def __init__(self, device: torch.device):
        self.device = device
        self._backend = getattr(torch, device.type, None)

    @classmethod
    def found(cls, device: torch.device | str | None = None) -> Card:
        """``device``, or the first that is there; UserError if there is none."""
        if device is not None:
            return cls(torch.device(device))
        if (card := first_card()) is not None:
            return cls(card)
        what = "torch finds no graphics card"
        raise UserError(what, where="bench card", fix="Install the torch that was built for your card")

    def facts(self) -> dict[str, Any]:
        """Name, backend, memory and torch."""
        asked = self._asked("get_device_properties", self.device)
        return {
            "device": getattr(asked, "name", self.device.type),
            "backend": "rocm" if self.device.type == "cuda" and torch.version.hip else self.device.type,
            "memory_gb": getattr(asked, "total_memory", 0) / 1e9 or None,
            "free_gb": (free_memory(self.device) or 0) / 1e9 or None,
            "torch": torch.__version__,
        }

    def title(self) -> str:
        """The same as a line."""
        return ", ".join(f"{name} {value}" for name, value in self.facts().items() if value is not None)

    def wait(self) -> None:
        """Until everything asked for is done."""
        self._asked("synchronize")

    def reset(self) -> None:
        """Forget what is free, and the peak."""
        self._asked("empty_cache")
        self._asked("reset_peak_memory_stats")

    def peak_gb(self) -> float | None:
        """Of tensors since the last reset; None where the backend does not count."""
        most = self._asked("max_memory_allocated")
        return None if most is None else most / 1e9

    def _asked(self, name: str, *arguments: Any) -> Any:
        ask = getattr(self._backend, name, None)
        return None if ask is None else ask(*arguments)

    def timed(self, work: Callable[[], object], seconds: float, least: int = 2) -> float:
        """Median seconds of ``work``, for ``seconds`` and ``least`` times after a first time; once for 0 seconds."""
        if seconds:
            work()
            self.wait()
        least = least if seconds else 1
        found: list[float] = []
        while len(found) < least or sum(found) < seconds:
            begin = time.perf_counter()
            work()
            self.wait()
            found.append(time.perf_counter() - begin)
        return statistics.median(found)


def matmul_rate(card: Card, dtype: torch.dtype, side: int) -> dict[str, float]:
    """``tflops`` of the product of two matrices of ``side`` × ``side``: the most that anything can reach here."""
    a, b = (torch.ones(side, side, dtype=dtype, device=card.device) for _ in range(2))
    seconds = card.timed(lambda: torch.mm(a, b), 0.5, 5)
    return {"tflops": 2 * side**3 / seconds / 1e12}
