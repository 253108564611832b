"""BOFT (Liu et al. 2023, arXiv:2311.06243; LyCORIS' form): OFT whose rotation is a product of butterfly stages.

Stage i mixes channels that are 2ⁱ·b/2 apart, so that a few sparse stages reach every pair. The multiplier scales
ΔW = W' − W, as in :mod:`oft`.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from lib_lora.adapters.algorithms.oft import (
    ALPHA,
    BLOCKS,
    RESCALE,
    cayley,
    constraint_of,
    rescale_of,
    stored_rotation,
)
from lib_lora.adapters.base import (
    Adapter,
    LayerSpec,
    apply_weight,
    base_of,
    channel_axis,
    misfit,
    missing,
    required_base,
)
from lib_lora.adapters.delta import Delta
from lib_lora.adapters.factors import split_power_of_two
from lib_lora.errors import UserError


class BOFT(Adapter):
    """Butterfly rotations of the output channels.

    Attributes:
        oft_blocks: [m, n, b, b]: m stages of n blocks, o = n·b, b even.
        rescale, alpha, weight_shape: as those of :class:`DiagOFT`.
    """

    algorithm = "boft"
    param_names = (BLOCKS, RESCALE, ALPHA)
    needs_base = True

    def __init__(self, blocks: Tensor, alpha: float, rescale: Tensor | None = None):
        super().__init__()
        self.oft_blocks = nn.Parameter(blocks)
        self.rescale = None if rescale is None else nn.Parameter(rescale)
        self.alpha = alpha
        self.weight_shape = torch.Size((blocks.shape[1] * blocks.shape[2], 1))

    @classmethod
    def reads(cls, tensors: Mapping[str, Tensor]) -> bool:
        return super().reads(tensors) and BLOCKS in tensors and tensors[BLOCKS].ndim == 4

    @classmethod
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
    def from_tensors(cls, tensors: Mapping[str, Tensor], weight_shape: torch.Size | None = None) -> BOFT:
        missing(tensors, BLOCKS)
        blocks = tensors[BLOCKS]
        m, n, b = blocks.shape[:3] if blocks.ndim == 4 else (0, 0, 0)
        if blocks.numel() == 0 or blocks.shape[3] != b or b % 2 or (n * b) % (2**m * (b // 2)):
            raise UserError(f"oft_blocks {list(blocks.shape)} are not butterfly stages")
        adapter = cls(blocks, constraint_of(tensors), rescale_of(tensors, n * b))
        if weight_shape is not None:
            adapter.fit(weight_shape)
        return adapter

    def tensors(self, dtype: torch.dtype | None = None) -> dict[str, Tensor]:
        return stored_rotation(self.oft_blocks, self.rescale, self.alpha, self.weight_shape, dtype)

    def forward_delta(self, x: Tensor, layer: nn.Module) -> Tensor:
        axis = channel_axis(layer)
        out = apply_weight(x, base_of(layer, x.dtype), layer).movedim(axis, -1)
        return (self._rotated(out) - out).movedim(-1, axis)

    def delta(self, base: Tensor | None = None) -> Delta:
        base = required_base(base, "BOFT")
        rows = base.flatten(1)
        rotated = self._rotated(rows.T).T.detach().to(rows)
        return Delta(base.shape, dense_part=rotated - rows)

    def fit(self, weight_shape: torch.Size) -> None:
        if weight_shape[0] != self.weight_shape[0]:
            raise misfit(self.weight_shape, weight_shape)
        self.weight_shape = torch.Size(weight_shape)

    def _rotated(self, x: Tensor) -> Tensor:
        """All stages on the last axis, which counts the o channels, and the rescaling."""
        stages, n, b, _ = self.oft_blocks.shape
        rotation = cayley(self.oft_blocks, self.alpha * n * b).to(x.dtype)
        for stage in range(stages):
            apart = 2**stage * (b // 2)
            x = _swapped(x, 2, apart).unflatten(-1, (n, b))
            x = torch.einsum("kij,...kj->...ki", rotation[stage], x).flatten(-2)
            x = _swapped(x, apart, 2)
        return x if self.rescale is None else x * self.rescale


def _swapped(x: Tensor, rows: int, columns: int) -> Tensor:
    """The last axis seen as many matrices [rows, columns], each transposed."""
    return x.unflatten(-1, (-1, rows, columns)).transpose(-2, -1).flatten(-3)
