"""How much memory a step will need, said from two or three small steps, and what would make it fit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
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

    With attention that forms its whole matrix it is more.
    """
    return _Need.of(model, config, caption).total(config, size)


@dataclass(frozen=True)
class _Need:
    """Bytes of a step: ``fixed``, and what each image keeps for the backward pass beside what its pixels keep."""

    fixed: float
    per_image: float
    per_pixel: float

    @classmethod
    def of(cls, model: LoadedModel, config: TrainConfig, caption: str) -> _Need:
        """From three small steps; batch size, parts and resolution of ``config`` do not matter."""
        side = 8 * model.latent_factor

        def cost(batch: int, side: int) -> int:
            return probe(model, replace(config, batch_size=batch, batch_parts=1), (side, side), caption).bytes

        one, larger, two = cost(1, side), cost(1, 2 * side), cost(2, side)
        per_pixel = (larger - one) / (3 * side**2)
        return cls(2 * one - two, two - one - per_pixel * side**2, per_pixel)

    def total(self, config: TrainConfig, size: tuple[int, int]) -> int:
        """Of the largest part of a batch of this size (width, height)."""
        return round(self.fixed + largest_part(config) * (self.per_image + self.per_pixel * size[0] * size[1]))


def fitting_change(
    model: LoadedModel, config: TrainConfig, size: tuple[int, int], limit: int | None, caption: str = ""
) -> str:
    """The one change to the settings, the least harmful first, with which a step stays below ``limit`` bytes.

    Args:
        limit: None if it is not known: the first change is proposed.
    """
    text = "Close other programs that use the graphics card; no single setting saves enough"
    known: dict[tuple[object, ...], _Need] = {}
    for text, changes in _changes(config):
        changed = replace(config, **changes)
        scaled = changes.get("resolution", config.resolution) / config.resolution
        width, height = (round(side * scaled) for side in size)
        if limit is None:
            return text
        kept = (changed.gradient_checkpointing, changed.checkpoint_blocks)
        need = known.get(kept) or known.setdefault(kept, _Need.of(model, changed, caption))
        if need.total(changed, (width, height)) * RESERVE <= limit:
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
