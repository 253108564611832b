"""Randomness as a function of (seed, stream, step).

Every draw of a run comes from a generator made here, so step k needs no history: a resumed run, and each of several
processes, sees exactly what one uninterrupted process would have seen.
"""

from __future__ import annotations

import hashlib
import random

import torch


def stable_seed(seed: int, stream: str, step: int) -> int:
    """63-bit seed of one (seed, stream, step); the same on every machine, platform and Python version.

    Args:
        seed: the seed of the run, any integer.
        stream: what is drawn, e.g. ``"noise"``, ``"timestep"``, ``"caption"``; streams are independent.
        step: optimizer step, epoch, or whatever the stream counts.
    """
    digest = hashlib.blake2b(f"{int(seed)}/{int(step)}/{stream}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def rng(seed: int, stream: str, step: int) -> random.Random:
    """A fresh Python generator for one (seed, stream, step)."""
    return random.Random(stable_seed(seed, stream, step))


def torch_generator(seed: int, stream: str, step: int, device: str | torch.device = "cpu") -> torch.Generator:
    """A fresh torch generator for one (seed, stream, step).

    Draw on the CPU (the default) and move the result where numbers must agree between devices.
    """
    return torch.Generator(device=device).manual_seed(stable_seed(seed, stream, step))
