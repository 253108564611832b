"""Block weights: see what they do, then write them into a file of their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from PIL import Image

from ..adapters.file import LoraFile, read_lora
from ..adapters.merge import combine
from ..models.base import GenerationRequest, Host
from .lora_files import load_network


@dataclass(frozen=True)
class Preview:
    """The LoRA with one and with other block weights, from the same noise."""

    before: Image.Image
    after: Image.Image


def preview(
    host: Host,
    file: Path | LoraFile,
    block_weights: Mapping[str, float],
    request: GenerationRequest,
    weight: float = 1.0,
    cancelled: Callable[[], bool] | None = None,
    against: Mapping[str, float] | None = None,
) -> Preview:
    """One picture with other and one with these block weights, generated in one batch.

    Args:
        file: the LoRA; also one that is not saved, such as :meth:`Merged.file`.
        block_weights: as :meth:`lib_lora.adapters.blocks.BlockWeights.read` takes them.
        request: prompt, seed and all else.
        weight: of the LoRA as a whole.
        against: the block weights of ``before``; None is the LoRA as it is.

    Raises:
        UserError: a LoRA that is damaged or does not fit the model, or wrong block weights.
        Cancelled: as ``host.generate``.
    """
    lora = file if isinstance(file, LoraFile) else read_lora(file)
    plain, tuned = load_network(lora), load_network(lora)
    plain.set_block_weights(against)
    tuned.set_block_weights(block_weights)
    requests = [replace(request, weights=(weight, 0.0)), replace(request, weights=(0.0, weight))]
    before, after = host.generate(requests, networks=(plain, tuned), cancelled=cancelled)
    return Preview(before, after)


def bake(
    file: Path,
    block_weights: Mapping[str, float],
    target: Path,
    weight: float = 1.0,
    dtype: torch.dtype = torch.float16,
) -> Path:
    """Write a LoRA that acts as ``file`` does with these weights, and needs none any more.

    Layers whose weight is 0 are left out.

    Raises:
        UserError: ``target`` exists, ``file`` is damaged, or nothing is left.
    """
    return combine([(read_lora(file), weight, block_weights)]).save(target, dtype)
