"""Block weights: see what they do, then write them into a file of their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from PIL import Image

from lib_lora.lora_files import load_network
from lib_lora.models.base import GenerationRequest, Host

from ..adapters.file import LoraFile, open_lora, read_lora
from ..adapters.merge import combine
from .merge import LoadBase, needs_base


def pictures(
    host: Host,
    file: Path | LoraFile,
    weightings: Sequence[Mapping[str, float] | None],
    request: GenerationRequest,
    weight: float = 1.0,
    cancelled: Callable[[], bool] | None = None,
) -> list[Image.Image]:
    """A picture for each of several block weights, from the same noise, generated in one batch.

    Args:
        file: the LoRA; also one that is not saved, such as :meth:`Merged.file`.
        weightings: each as :meth:`lib_lora.adapters.blocks.BlockWeights.read` takes it; None is the LoRA as it is.
        request: prompt, seed and all else.
        weight: of the LoRA as a whole.

    Raises:
        UserError: a LoRA that is damaged or does not fit the model, or wrong block weights.
        Cancelled: as ``host.generate``.
    """
    lora = file if isinstance(file, LoraFile) else read_lora(file)
    networks = [load_network(lora) for _ in weightings]
    for network, weights in zip(networks, weightings, strict=True):
        network.set_block_weights(weights)
    each = range(len(networks))
    requests = [replace(request, weights=tuple(weight if own == other else 0.0 for other in each)) for own in each]
    return host.generate(requests, networks=tuple(networks), cancelled=cancelled)


def bake(
    file: Path,
    block_weights: Mapping[str, float],
    target: Path,
    weight: float = 1.0,
    dtype: torch.dtype = torch.float16,
    base: LoadBase | None = None,
) -> Path:
    """Write a LoRA that acts as ``file`` does with these weights, and needs none any more.

    Layers whose weight is 0 are left out.

    Args:
        base: gives the weights that DoRA, GLoRA, IA3, OFT and BOFT act on; called only for a file of one of them.

    Raises:
        UserError: ``target`` exists, ``file`` is damaged, or nothing is left.
    """
    lora = open_lora(file)
    weights = base() if base is not None and needs_base(lora) else None
    return combine([(lora, weight, block_weights)], base=weights).save(target, dtype)
