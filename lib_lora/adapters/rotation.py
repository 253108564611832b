"""What Diag-OFT and BOFT share: W' = R W with a rotation R of the output channels, and their form in files.

The multiplier scales ΔW = W' − W, as the web UIs do; only at 1 is W' a rotation of W.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from typing_extensions import override

from lib_lora.adapters.base import (
    Adapter,
    apply_weight,
    base_of,
    channel_axis,
    misfit,
    required_base,
    stored,
    wide_type,
)
from lib_lora.adapters.delta import Delta
from lib_lora.errors import UserError

if TYPE_CHECKING:
    from typing_extensions import Self

BLOCKS, RESCALE, ALPHA = "oft_blocks", "rescale", "alpha"


class Rotation(Adapter):
    """A rotation made of square blocks.

    Attributes:
        oft_blocks: […, n, b, b] with o = n·b output channels.
        rescale: None, or a factor per output channel, [o].
        alpha: the constraint; ‖Q‖ is kept ≤ alpha·o, 0 is no bound.
        weight_shape: until the layer is known, [o, 1].
    """

    param_names = (BLOCKS, RESCALE, ALPHA)
    needs_base = True

    def __init__(self, blocks: Tensor, alpha: float, rescale: Tensor | None = None):
        super().__init__()
        self.oft_blocks = nn.Parameter(blocks)
        self.rescale = None if rescale is None else nn.Parameter(rescale)
        self.alpha = alpha
        self.weight_shape = torch.Size((blocks.shape[-3] * blocks.shape[-2], 1))

    @abstractmethod
    def rotated(self, x: Tensor) -> Tensor:
        """The rotation, and the rescaling, of the last axis, which counts the o channels."""

    @classmethod
    def read(cls, tensors: Mapping[str, Tensor]) -> Self:
        """From a file's tensors; the shape of ``oft_blocks`` has been looked at.

        Raises:
            UserError: alpha or rescale does not fit.
        """
        blocks = tensors[BLOCKS]
        return cls(blocks, _constraint(tensors), _rescale(tensors, blocks.shape[-3] * blocks.shape[-2]))

    @override
    def tensors(self, dtype: torch.dtype | None = None) -> dict[str, Tensor]:
        tensors = {BLOCKS: stored(self.oft_blocks, dtype), ALPHA: torch.tensor(self.alpha, dtype=torch.float32)}
        if self.rescale is not None:
            tensors[RESCALE] = stored(self.rescale, dtype).reshape(-1, *[1] * (len(self.weight_shape) - 1))
        return tensors

    @override
    def forward_delta(self, x: Tensor, layer: nn.Module) -> Tensor:
        axis = channel_axis(layer)
        out = apply_weight(x, base_of(layer, x), layer).movedim(axis, -1)
        return (self.rotated(out) - out).movedim(-1, axis)

    @override
    def delta(self, base: Tensor | None = None) -> Delta:
        base = required_base(base, self.algorithm.upper())
        rows = base.flatten(1)
        rotated = self.rotated(rows.T).T.detach().to(rows)
        return Delta(base.shape, dense_part=rotated - rows)

    @override
    def fit(self, weight_shape: torch.Size) -> None:
        if weight_shape[0] != self.weight_shape[0]:
            raise misfit(self.weight_shape, weight_shape)
        self.weight_shape = torch.Size(weight_shape)

    def rotations(self, dtype: torch.dtype) -> Tensor:
        """The Cayley transform (I + Q)(I − Q)⁻¹ of each block, with Q = B − Bᵀ bounded by the constraint."""
        blocks = self.oft_blocks.to(wide_type(self.oft_blocks.dtype))
        q = blocks - blocks.transpose(-1, -2)
        if self.alpha > 0:
            norm = q.norm() + 1e-8
            q = q * (self.alpha * self.weight_shape[0] / norm).clamp(max=1.0)
        identity = torch.eye(q.shape[-1], dtype=q.dtype, device=q.device)
        inverse: Tensor = torch.linalg.inv(identity - q)
        return ((identity + q) @ inverse).to(dtype)


def _constraint(tensors: Mapping[str, Tensor]) -> float:
    """The bound per output channel that a file stores as alpha; 0 where it has none."""
    alpha = tensors.get(ALPHA, torch.zeros(()))
    if alpha.numel() != 1:
        raise UserError(f"alpha should be one number, not {list(alpha.shape)}")
    return float(alpha.item())


def _rescale(tensors: Mapping[str, Tensor], width: int) -> Tensor | None:
    """The factors per output channel, [width]; None where the file has none."""
    rescale = tensors.get(RESCALE)
    if rescale is not None and rescale.numel() != width:
        raise UserError(f"rescale {list(rescale.shape)} does not fit oft_blocks of {width} channels")
    return None if rescale is None else rescale.flatten()
