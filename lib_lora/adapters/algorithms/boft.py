"""BOFT (Liu et al. 2023, arXiv:2311.06243; LyCORIS' form): OFT whose rotation is a product of butterfly stages.

Stage i mixes channels that are 2ⁱ·b/2 apart, so that a few sparse stages reach every pair; see :mod:`rotation`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor
from typing_extensions import override

from lib_lora.adapters.base import LayerSpec, missing
from lib_lora.adapters.factors import split_power_of_two
from lib_lora.adapters.rotation import BLOCKS, Rotation
from lib_lora.errors import UserError


class BOFT(Rotation):
    """Butterfly rotations of the output channels; ``oft_blocks`` is [m, n, b, b]: m stages of n blocks, b even."""

    algorithm = "boft"
    label, place = "BOFT", 80
    options = ("rank", "constraint")
    elsewhere: ClassVar[Mapping[str, str]] = {
        "Forge": "",
        "ComfyUI": "applies BOFT with another strength below weight 1",
    }

    @classmethod
    @override
    def reads(cls, tensors: Mapping[str, Tensor]) -> bool:
        return super().reads(tensors) and BLOCKS in tensors and tensors[BLOCKS].ndim == 4

    @classmethod
    @override
    def create(
        cls,
        layer_shape: torch.Size,
        spec: LayerSpec,
        *,
        generator: torch.Generator | None = None,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> BOFT:
        size, count = split_power_of_two(layer_shape[0], spec.rank)
        if size == 0:
            raise UserError(
                f"{layer_shape[0]} channels are not a power of two times an even block of at most {spec.rank}",
                where="rank",
                fix="BOFT's rank is the largest block: use a larger one, or the algorithm oft.",
            )
        stages = (count - 1).bit_count() + 1
        adapter = cls(torch.zeros(stages, count, size, size, dtype=dtype, device=device), spec.constraint)
        adapter.fit(layer_shape)
        return adapter

    @classmethod
    @override
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> BOFT:
        missing(tensors, BLOCKS)
        blocks = tensors[BLOCKS]
        m, n, b = blocks.shape[:3] if blocks.ndim == 4 else (0, 0, 0)
        if blocks.numel() == 0 or blocks.shape[3] != b or b % 2 or (n * b) % (2**m * (b // 2)):
            raise UserError(f"oft_blocks {list(blocks.shape)} are not butterfly stages")
        return cls.read(tensors)

    @override
    def rotated(self, x: Tensor) -> Tensor:
        stages, n, b, _ = self.oft_blocks.shape
        rotation = self.rotations(x.dtype)
        for stage in range(stages):
            apart = 2**stage * (b // 2)
            x = torch.unflatten(_swapped(x, 2, apart), -1, (n, b))
            x = torch.einsum("kij,...kj->...ki", rotation[stage], x).flatten(-2)
            x = _swapped(x, apart, 2)
        return x if self.rescale is None else x * self.rescale


def _swapped(x: Tensor, rows: int, columns: int) -> Tensor:
    """The last axis seen as many matrices [rows, columns], each transposed."""
    return torch.unflatten(x, -1, (-1, rows, columns)).transpose(-2, -1).flatten(-3)
