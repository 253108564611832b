"""Diag-OFT (Qiu et al. 2023, arXiv:2306.07280; kohya's and LyCORIS' form): W' = Rᵀ W with R block-diagonal.

Each block is the Cayley transform of a skew-symmetric matrix, hence a rotation; see :mod:`rotation`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor
from typing_extensions import override

from lib_lora.adapters.base import LayerSpec, missing
from lib_lora.adapters.factors import split_width
from lib_lora.adapters.rotation import BLOCKS, Rotation
from lib_lora.errors import UserError


class DiagOFT(Rotation):
    """Rotations of groups of output channels; ``oft_blocks`` is [n, b, b]."""

    algorithm = "oft"
    label, place = "OFT", 70
    options = ("rank", "constraint")
    lycoris = "diag-oft"
    elsewhere: ClassVar[Mapping[str, str]] = {
        "Forge": "",
        "ComfyUI": "applies OFT with the square of its weight, and another constraint",
    }

    @classmethod
    @override
    def reads(cls, tensors: Mapping[str, Tensor]) -> bool:
        return super().reads(tensors) and BLOCKS in tensors and tensors[BLOCKS].ndim != 4

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
    ) -> DiagOFT:
        size, count = split_width(layer_shape[0], spec.rank)
        adapter = cls(torch.zeros(count, size, size, dtype=dtype, device=device), spec.constraint)
        adapter.fit(layer_shape)
        return adapter

    @classmethod
    @override
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> DiagOFT:
        missing(tensors, BLOCKS)
        blocks = tensors[BLOCKS]
        if blocks.ndim != 3 or blocks.shape[1] != blocks.shape[2] or blocks.numel() == 0:
            raise UserError(f"oft_blocks {list(blocks.shape)} are not square blocks")
        return cls.read(tensors)

    @override
    def rotated(self, x: Tensor) -> Tensor:
        n, b, _ = self.oft_blocks.shape
        out = torch.einsum("kij,...ki->...kj", self.rotations(x.dtype), torch.unflatten(x, -1, (n, b))).flatten(-2)
        return out if self.rescale is None else out * self.rescale
