"""Layers that diffusers splits, put together again as the original code has them.

A LoRA of the fused layer has one low rank for q, k and v; one for each part would be written three times as large, or
in a spelling that some programs do not read. So training has the layers that other hosts have, and files are the same.
"""

from __future__ import annotations

from collections import defaultdict
from typing import cast

import torch
from torch import Tensor, nn

from lib_lora.models.dit import flat
from lib_lora.models.family import UNET, Family

FUSED = "fused_"


class Fused(nn.Linear):
    """One layer in place of several that are given the same input.

    It computes when the first of its parts is asked for, and lets go of the output with the last.
    """

    def __init__(self, parts: list[nn.Linear]):
        rows = [part.out_features for part in parts]
        with torch.device("meta"):
            super().__init__(parts[0].in_features, sum(rows), bias=parts[0].bias is not None)
        self.weight = nn.Parameter(torch.cat([part.weight.detach() for part in parts]), requires_grad=False)
        if self.bias is not None:
            self.bias = nn.Parameter(torch.cat([part.bias.detach() for part in parts]), requires_grad=False)
        self.rows = rows
        self._input: Tensor | None = None
        self._outputs: list[Tensor | None] = []

    def part(self, number: int, x: Tensor) -> Tensor:
        """Output ``number`` for ``x``."""
        if x is not self._input or self._outputs[number] is None:
            self._input, self._outputs = x, list(self(x).split(self.rows, dim=-1))
        found = cast(Tensor, self._outputs[number])
        self._outputs[number] = None
        if not any(output is not None for output in self._outputs):
            self._input = None
        return found


class Part(nn.Module):
    """Where diffusers' code calls one of the layers that are fused; it has no weights of its own."""

    def __init__(self, whole: Fused, number: int):
        super().__init__()
        self._whole = (whole,)  # in a tuple, so that PyTorch does not count the layer once for each part
        self.number = number

    @property
    def weight(self) -> Tensor:
        """Its rows; diffusers asks for their type and device."""
        return self._whole[0].weight.split(self._whole[0].rows)[self.number]

    def forward(self, x: Tensor) -> Tensor:
        """This part of what the whole layer computes."""
        return self._whole[0].part(self.number, x)


def fuse(transformer: nn.Module, family: Family) -> None:
    """Fuse the layers of ``transformer`` that ``family`` has as one; each stands beside its first part, ``fused_…``."""
    groups: dict[str, dict[int, str]] = defaultdict(dict)
    for path, module in transformer.named_modules():
        place = family.place(UNET + flat(path)) if isinstance(module, nn.Linear) else None
        if place is not None and place.parts > 1:
            groups[place.key][place.part] = path
    for parts in groups.values():
        paths = [parts[number] for number in sorted(parts)]
        whole = Fused([cast(nn.Linear, transformer.get_submodule(path)) for path in paths])
        for number, path in enumerate(paths):
            _put(transformer, path, Part(whole, number))
        parent, name = _split(paths[0])
        transformer.get_submodule(parent).add_module(FUSED + name, whole)


def layers_of(transformer: nn.Module, family: Family) -> dict[str, nn.Module]:
    """Our key -> layer, of all linear and convolution layers and norms that ``family`` has a name for."""
    found: dict[str, nn.Module] = {}
    for path, module in transformer.named_modules():
        if isinstance(module, nn.Linear | nn.Conv2d | nn.LayerNorm):
            parent, name = _split(path)
            place = family.place(UNET + flat(f"{parent}.{name.removeprefix(FUSED)}" if parent else name))
            if place is not None and (place.parts == 1) != isinstance(module, Fused):
                found[place.key] = module
    return found


def _split(path: str) -> tuple[str, str]:
    parent, _, name = path.rpartition(".")
    return parent, name


def _put(model: nn.Module, path: str, module: nn.Module) -> None:
    parent, name = _split(path)
    holder = model.get_submodule(parent)
    if isinstance(holder, nn.ModuleList):
        holder[int(name)] = module
    else:
        setattr(holder, name, module)
