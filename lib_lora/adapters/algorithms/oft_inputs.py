"""OFT of the inputs (Qiu et al. 2025, arXiv:2506.19847), as OneTrainer and PEFT train it and Forge Neo reads it.

W' = W Rᵀ for a linear layer, W' = W R for a convolution, seen as a matrix [o, i·kh·kw]; R is block-diagonal. Each
block is I + 2Q + 2Q² + 2Q³ + Q⁴, the beginning of the Cayley transform of a skew-symmetric Q, of which a file has the
upper triangle.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn
from typing_extensions import override

from lib_lora.adapters.base import (
    Adapter,
    LayerSpec,
    apply_weight,
    base_of,
    misfit,
    missing,
    required_base,
    stored,
    unfit,
    wide_type,
)
from lib_lora.adapters.delta import Delta
from lib_lora.adapters.factors import split_width

TRIANGLES = "oft_R.weight"


class InputOFT(Adapter):
    """Rotations of groups of inputs. It is read and applied, not offered for training.

    Attributes:
        triangles: [n, b·(b−1)/2] for n·b inputs; of one row, all groups share it.
        weight_shape: until the layer is known, [1, n·b].
    """

    algorithm = "oft_inputs"
    label, place = "OFT of the inputs (OneTrainer's)", 75
    options = ("rank",)
    chosen = False
    elsewhere: ClassVar[Mapping[str, str]] = {
        "AUTOMATIC1111": "refuses files with OFT of the inputs (OneTrainer's)",
        "Forge": "",
        "ComfyUI": "",
    }
    param_names = (TRIANGLES, "alpha")  # an alpha means nothing here
    needs_base = True

    def __init__(self, triangles: Tensor):
        super().__init__()
        self.triangles = nn.Parameter(triangles)
        self.block = block_size(triangles.shape[1])
        self.weight_shape = torch.Size((1, len(triangles) * self.block))

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
    ) -> InputOFT:
        size, count = split_width(layer_shape[1:].numel(), spec.rank)
        adapter = cls(torch.zeros(count, size * (size - 1) // 2, dtype=dtype, device=device))
        adapter.fit(layer_shape)
        return adapter

    @classmethod
    @override
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> InputOFT:
        missing(tensors, TRIANGLES)
        triangles = tensors[TRIANGLES]
        if triangles.ndim != 2 or not triangles.numel() or not block_size(triangles.shape[1]):
            raise unfit("OFT", {TRIANGLES: triangles})
        return cls(triangles)

    @override
    def tensors(self, dtype: torch.dtype | None = None) -> dict[str, Tensor]:
        return {TRIANGLES: stored(self.triangles, dtype)}

    @override
    def forward_delta(self, x: Tensor, layer: nn.Module) -> Tensor:
        base = base_of(layer, x)
        if base.ndim == 2:
            return apply_weight(self._turned(x, self._rotations(x.dtype)) - x, base, layer)
        return apply_weight(x, self._change(base).reshape(base.shape), layer)

    @override
    def delta(self, base: Tensor | None = None) -> Delta:
        base = required_base(base, "OFT")
        return Delta(base.shape, dense_part=self._change(base).detach())

    @override
    def fits(self, weight_shape: torch.Size) -> bool:
        inputs = weight_shape[1:].numel()
        return inputs == self.weight_shape[1:].numel() or (len(self.triangles) == 1 and inputs % self.block == 0)

    @override
    def fit(self, weight_shape: torch.Size) -> None:
        if not self.fits(weight_shape):
            raise misfit(self.weight_shape, weight_shape)
        self.weight_shape = torch.Size(weight_shape)

    def _change(self, base: Tensor) -> Tensor:
        """W' − W, [o, i·kh·kw]."""
        rotations, rows = self._rotations(base.dtype), base.flatten(1)
        return self._turned(rows, rotations if base.ndim == 4 else rotations.transpose(1, 2)) - rows

    def _turned(self, rows: Tensor, rotations: Tensor) -> Tensor:
        """Groups of the last axis times the blocks of R."""
        groups = torch.unflatten(rows, -1, (-1, self.block))
        return torch.einsum("...nk,nkc->...nc", groups, rotations.expand(groups.shape[-2], -1, -1)).flatten(-2)

    def _rotations(self, dtype: torch.dtype) -> Tensor:
        """[n, b, b], in ``dtype``; calculated in at least float32."""
        triangles = self.triangles.to(wide_type(self.triangles.dtype))
        rows, columns = torch.triu_indices(self.block, self.block, 1, device=triangles.device)
        groups = torch.arange(len(triangles), device=triangles.device)[:, None]
        empty = triangles.new_zeros(len(triangles), self.block, self.block)
        upper = empty.index_put((groups, rows, columns), triangles)
        q = upper - upper.transpose(1, 2)
        square = q @ q
        identity = torch.eye(self.block, dtype=q.dtype, device=q.device)
        return (identity + 2 * q + 2 * square + 2 * square @ q + square @ square).to(dtype)


def block_size(numbers: int) -> int:
    """b of the b × b blocks whose upper triangles have this many numbers; 0 where no block has."""
    size = (1 + math.isqrt(1 + 8 * numbers)) // 2
    return size if size > 1 and size * (size - 1) // 2 == numbers else 0
