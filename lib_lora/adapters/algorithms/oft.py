"""Diag-OFT (Qiu et al. 2023, arXiv:2306.07280; kohya's and LyCORIS' form): W' = Rᵀ W with R block-diagonal.

Each block is the Cayley transform R = (I + Q)(I − Q)⁻¹ of a skew-symmetric Q = B − Bᵀ, hence a rotation. The multiplier
scales ΔW = W' − W, as the web UIs do; only at 1 is W' a rotation of W.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from lib_lora.adapters.base import (
    Adapter,
    LayerSpec,
    apply_weight,
    base_of,
    channel_axis,
    misfit,
    missing,
    required_base,
    stored,
)
from lib_lora.adapters.delta import Delta
from lib_lora.adapters.factors import split_width
from lib_lora.errors import UserError

BLOCKS, RESCALE, ALPHA = "oft_blocks", "rescale", "alpha"


class DiagOFT(Adapter):
    """Rotations of groups of output channels.

    Attributes:
        oft_blocks: B, [n, b, b] with o = n·b.
        rescale: None, or a factor per output channel, [o].
        alpha: the constraint; ‖Q‖ is kept ≤ alpha·o, 0 is no bound.
        weight_shape: until the layer is known, [o, 1].
    """

    algorithm = "oft"
    param_names = (BLOCKS, RESCALE, ALPHA)
    needs_base = True

    def __init__(self, blocks: Tensor, alpha: float, rescale: Tensor | None = None):
        super().__init__()
        self.oft_blocks = nn.Parameter(blocks)
        self.rescale = None if rescale is None else nn.Parameter(rescale)
        self.alpha = alpha
        self.weight_shape = torch.Size((blocks.shape[0] * blocks.shape[1], 1))

    @classmethod
    def reads(cls, tensors: Mapping[str, Tensor]) -> bool:
        return super().reads(tensors) and BLOCKS in tensors and tensors[BLOCKS].ndim != 4

    @classmethod
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
    def from_tensors(cls, tensors: Mapping[str, Tensor], weight_shape: torch.Size | None = None) -> DiagOFT:
        missing(tensors, BLOCKS)
        blocks = tensors[BLOCKS]
        if blocks.ndim != 3 or blocks.shape[1] != blocks.shape[2] or blocks.numel() == 0:
            raise UserError(f"oft_blocks {list(blocks.shape)} are not square blocks")
        adapter = cls(blocks, constraint_of(tensors), rescale_of(tensors, blocks.shape[0] * blocks.shape[1]))
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
        base = required_base(base, "OFT")
        rows = base.flatten(1)
        rotated = self._rotated(rows.T).T.detach().to(rows)
        return Delta(base.shape, dense_part=rotated - rows)

    def fit(self, weight_shape: torch.Size) -> None:
        if weight_shape[0] != self.weight_shape[0]:
            raise misfit(self.weight_shape, weight_shape)
        self.weight_shape = torch.Size(weight_shape)

    def _rotated(self, x: Tensor) -> Tensor:
        """Rᵀ on the last axis, which counts the o channels, and the rescaling."""
        n, b, _ = self.oft_blocks.shape
        rotation = cayley(self.oft_blocks, self.alpha * n * b).to(x.dtype)
        out = torch.einsum("kij,...ki->...kj", rotation, x.unflatten(-1, (n, b))).flatten(-2)
        return out if self.rescale is None else out * self.rescale


def cayley(blocks: Tensor, bound: float) -> Tensor:
    """Rotations (I + Q)(I − Q)⁻¹ with Q = B − Bᵀ, […, b, b], at least float32.

    Args:
        bound: of the norm of all of Q; 0 is none.
    """
    blocks = blocks.to(torch.promote_types(blocks.dtype, torch.float32))
    q = blocks - blocks.transpose(-1, -2)
    if bound > 0:
        norm = q.norm() + 1e-8
        q = q * (bound / norm).clamp(max=1.0)
    identity = torch.eye(q.shape[-1], dtype=q.dtype, device=q.device)
    return (identity + q) @ torch.linalg.inv(identity - q)


def constraint_of(tensors: Mapping[str, Tensor]) -> float:
    """The bound per output channel that a file stores as alpha; 0 where it has none."""
    alpha = tensors.get(ALPHA, torch.zeros(()))
    if alpha.numel() != 1:
        raise UserError(f"alpha should be one number, not {list(alpha.shape)}")
    return float(alpha.item())


def rescale_of(tensors: Mapping[str, Tensor], width: int) -> Tensor | None:
    """The factors per output channel, [width]; None where the file has none."""
    rescale = tensors.get(RESCALE)
    if rescale is not None and rescale.numel() != width:
        raise UserError(f"rescale {list(rescale.shape)} does not fit oft_blocks of {width} channels")
    return None if rescale is None else rescale.flatten()


def stored_rotation(
    blocks: Tensor, rescale: Tensor | None, alpha: float, weight_shape: torch.Size, dtype: torch.dtype | None
) -> dict[str, Tensor]:
    """What a file of OFT or BOFT holds."""
    tensors = {BLOCKS: stored(blocks, dtype), ALPHA: torch.tensor(alpha, dtype=torch.float32)}
    if rescale is not None:
        tensors[RESCALE] = stored(rescale, dtype).reshape(-1, *[1] * (len(weight_shape) - 1))
    return tensors
