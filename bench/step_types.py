"""The cost of each kind of network: its training step on the miniature ÷ the frozen U-Net's, see :mod:`bench.step`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import torch

from bench.step import LORA, RANK, SIZES, Batch, Size, floor_step, medians, our_step, shared_copy
from lib_lora.hosts.standalone.shape import build_unet

KINDS = {
    "lora": LORA,
    "locon": replace(LORA, conv_rank=RANK),
    "loha": replace(LORA, algorithm="loha"),
    "lokr": replace(LORA, algorithm="lokr"),
    "glora": replace(LORA, algorithm="glora"),
    "dora": replace(LORA, dora=True),
    "ia3": replace(LORA, algorithm="ia3"),
    "oft": replace(LORA, algorithm="oft"),
    "boft": replace(LORA, algorithm="boft"),
}


def run(kinds: Iterable[str] = tuple(KINDS), size: Size = SIZES["mini"], rounds: int = 5) -> dict[str, float]:
    """Measure with the threads torch has now.

    Returns:
        Per kind ``types.KIND``, its step ÷ the floor; and the seconds of the floor.
    """
    torch.manual_seed(0)
    unet = build_unet(size.shape).requires_grad_(False).eval()
    batch = Batch.random(size)
    steps = {kind: our_step(shared_copy(unet), batch, KINDS[kind]) for kind in kinds}
    seconds = medians({"floor": floor_step(unet, batch), **steps}, rounds)
    floor = seconds.pop("floor")
    ratios = {f"types.{kind}": value / floor for kind, value in seconds.items()}
    return {**ratios, "floor_seconds": floor, "threads": torch.get_num_threads()}
