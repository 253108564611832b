"""How diffusers' pipelines encode a caption for a transformer, and call it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

import torch
from torch import Tensor

from lib_lora.models.conditioning import Conditioning

Pipe = Any  # a pipeline of diffusers, or its parts
Transformer = Any


@dataclass(frozen=True)
class Calls:
    """What a file of this folder says of one class of transformers.

    Attributes:
        transformer, pipeline: classes of diffusers; without a pipeline the parts are used as they are.
        family: the name of the family, by the transformer's configuration.
        encode: the conditioning of one caption, [1, …], by the pipeline's own code.
        predict: (transformer, x_σ [B,C,h,w], σ [B], conditioning, strength of a guidance that is built in) -> ε − x_0.
        vector: width of the conditioning's vector, by the transformer's configuration.
        guided: whether a guidance is built in (guidance distillation: Meng et al. 2023).
        patched: whether latents are the VAE's in patches of 2×2, normalised by its running statistics.
    """

    transformer: str
    family: Callable[[Mapping[str, Any]], str]
    encode: Callable[[Pipe, str], Conditioning]
    predict: Callable[[Transformer, Tensor, Tensor, Conditioning, float], Tensor]
    pipeline: str = ""
    vector: Callable[[Mapping[str, Any]], int] = lambda _: 0
    guided: Callable[[Mapping[str, Any]], bool] = lambda _: False
    patched: bool = False


@cache
def all_calls() -> dict[str, Calls]:
    """Class of a transformer -> how it is called."""
    package = __name__.rpartition(".")[0]
    found = (import_module(f"{package}.{info.name}") for info in iter_modules(import_module(package).__path__))
    calls = [value for module in found for value in vars(module).values() if isinstance(value, Calls)]
    return {one.transformer: one for one in calls}


def in_patches(x: Tensor) -> Tensor:
    """[B, C, h, w] -> [B, h/2·w/2, 4·C]: patches of 2×2, channel by channel."""
    b, c, h, w = x.shape
    return x.view(b, c, h // 2, 2, w // 2, 2).permute(0, 2, 4, 1, 3, 5).reshape(b, h * w // 4, 4 * c)


def out_of_patches(rows: Tensor, like: Tensor) -> Tensor:
    """What :func:`in_patches` made of a tensor that was shaped as ``like``."""
    b, c, h, w = like.shape
    return rows.view(b, h // 2, w // 2, c, 2, 2).permute(0, 3, 1, 4, 2, 5).reshape(b, c, h, w)


def grid_ids(height: int, width: int, columns: int, device: torch.device) -> Tensor:
    """Positions of a picture's patches, float32 [height·width, columns]: row and column in the second and third."""
    ids = torch.zeros(height, width, columns, device=device)
    ids[..., 1] = torch.arange(height, device=device)[:, None]
    ids[..., 2] = torch.arange(width, device=device)[None, :]
    return ids.flatten(0, 1)
