"""How much room there is on a device, how it says that there is none, and what this process takes."""

from __future__ import annotations

import os
from pathlib import Path

import torch

CARDS = ("cuda", "xpu", "mps")  # ROCm is "cuda" to torch
OUT_OF_MEMORY: type[Exception] = getattr(torch, "OutOfMemoryError", torch.cuda.OutOfMemoryError)  # torch 2.5 renamed it


def is_out_of_memory(error: BaseException) -> bool:
    """Whether ``error`` says that a device is full; backends other than CUDA's say so in words."""
    return isinstance(error, OUT_OF_MEMORY) or (isinstance(error, RuntimeError) and "out of memory" in str(error))


def first_card() -> torch.device | None:
    """The first graphics card that torch finds; None without one."""
    for kind in CARDS:
        backend = getattr(torch, kind, None)
        if backend is not None and backend.is_available():
            return torch.device(kind, 0) if kind != "mps" else torch.device(kind)
    return None


def free_memory(device: torch.device | str) -> int | None:
    """Bytes that a graphics card has left, with those that torch keeps for later; None where that is not known."""
    if torch.device(device).type != "cuda":
        return None
    kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return int(torch.cuda.mem_get_info(device)[0] + kept)


def process_memory() -> int | None:
    """Bytes of main memory that this process holds now, all in all; None where nobody tells."""
    pages = Path("/proc/self/statm")
    if pages.exists():
        return int(pages.read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    try:
        import psutil  # accelerate brings it, in every host
    except ImportError:
        return None
    return int(psutil.Process().memory_info().rss)


def forget_free_memory() -> None:
    """Give back what torch keeps for later, so that larger pieces can be had."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
