"""How much memory a step will need, said from two or three small steps, and what would make it fit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch

from lib_lora.dataset.scan import Item
from lib_lora.errors import UserError
from lib_lora.models.base import LoadedModel
from lib_lora.models.memory import forget_free_memory
from lib_lora.training.config import TrainConfig
from lib_lora.training.probe import largest_part, probe

RESERVE = 1.1  # working buffers of single operations, and memory in pieces too small to use
LEAST_RESOLUTION = 256


def capacity(device: torch.device | str) -> int | None:
    """Bytes of the graphics card; None without one."""
    return torch.cuda.mem_get_info(device)[1] if torch.device(device).type == "cuda" else None


def estimate(model: LoadedModel, config: TrainConfig, size: tuple[int, int], caption: str = "") -> int:
    """Peak bytes of a step of ``config`` at ``size`` (width, height), without making one of that size.

    What is kept for the backward pass is a + batch·(b + c·pixels); three small steps give a, b and c. With attention
    that forms its whole matrix it is more.
    """
    side = 8 * model.latent_factor

    def cost(batch: int, side: int) -> int:
        return probe(model, replace(config, batch_size=batch, batch_parts=1), (side, side), caption).bytes

    one, larger, two = cost(1, side), cost(1, 2 * side), cost(2, side)
    per_pixel = (larger - one) / (3 * side**2)
    per_image = two - one - per_pixel * side**2
    fixed = 2 * one - two
    return round(fixed + largest_part(config) * (per_image + per_pixel * size[0] * size[1]))


def fitting_change(
    model: LoadedModel, config: TrainConfig, size: tuple[int, int], limit: int | None, caption: str = ""
) -> str:
    """The one change to the settings, the least harmful first, with which a step stays below ``limit`` bytes.

    Args:
        limit: None if it is not known: the first change is proposed.
    """
    text = "Close other programs that use the graphics card; no single setting saves enough"
    for text, changes in _changes(config):
        scaled = changes.get("resolution", config.resolution) / config.resolution
        width, height = (round(side * scaled) for side in size)
        if limit is None or estimate(model, replace(config, **changes), (width, height), caption) * RESERVE <= limit:
            return text
    return f"{text}; it may still not be enough"


def out_of_memory(model: LoadedModel, config: TrainConfig, items: Sequence[Item], step: int) -> UserError:
    """What to say when step ``step`` did not fit; call it when the step's own tensors are gone."""
    forget_free_memory()
    size = max((item.bucket for item in items), key=lambda bucket: bucket[0] * bucket[1])
    caption = max((item.caption for item in items), key=len)
    fix = fitting_change(model, config, size, capacity(model.device), caption)
    what = f"Ran out of memory in step {step}"
    return UserError(what, where=config.name, fix=f"{fix}. Everything saved so far is intact")


def _changes(config: TrainConfig) -> Iterator[tuple[str, dict[str, Any]]]:
    whole = {"gradient_checkpointing": True, "checkpoint_blocks": ""}
    if not config.gradient_checkpointing:
        yield "Switch on gradient checkpointing", whole
    elif config.checkpoint_blocks.strip():
        yield "Checkpoint all blocks", whole
    parts = 2 * config.batch_parts
    while parts <= config.batch_size:
        yield f"Set the parts of a batch to {parts}, for the same result", {"batch_parts": parts}
        parts *= 2
    side = config.resolution - 64
    while side >= LEAST_RESOLUTION:
        yield f"Lower the resolution to {side}", {"resolution": side}
        side -= 64
