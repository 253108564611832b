"""LoRA (Hu et al. 2021, arXiv:2106.09685) and LoCon, its form for convolutions: ΔW = alpha/rank · up @ down."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lib_lora.adapters.base import Adapter, misfit, per_sample
from lib_lora.adapters.delta import Delta
from lib_lora.errors import UserError

UP, DOWN, MID, ALPHA = "lora_up.weight", "lora_down.weight", "lora_mid.weight", "alpha"


class LoRA(Adapter):
    """A linear layer or a convolution with a low-rank ΔW.

    Attributes:
        up: [o, r], or [o, r, 1, 1] for a convolution.
        down: [r, i], or [r, i, kh, kw]: the kernel, stride and padding belong to the down projection.
        alpha: ΔW is scaled by alpha / rank; 0 in a file means alpha = rank, as in kohya's trainer.
    """

    algorithm = "lora"
    param_names = (UP, DOWN, MID, ALPHA)

    def __init__(self, up: Tensor, down: Tensor, alpha: float):
        super().__init__()
        self.up = nn.Parameter(up)
        self.down = nn.Parameter(down)
        self.rank = down.shape[0]
        self.alpha = float(alpha) or float(self.rank)
        self.scale = self.alpha / self.rank
        self.weight_shape = torch.Size((up.shape[0], *down.shape[1:]))

    @classmethod
    def create(
        cls,
        layer_shape: torch.Size,
        *,
        rank: int,
        alpha: float,
        conv_rank: int | None = None,
        conv_alpha: float | None = None,
        generator: torch.Generator | None = None,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> LoRA:
        o, i, *kernel = layer_shape
        if math.prod(kernel) > 1:
            rank, alpha = conv_rank or rank, alpha if conv_alpha is None else conv_alpha
        ones = [1] * len(kernel)
        # kaiming_uniform with a=√5, as nn.Linear and kohya's trainer do it: U(±1/√fan_in)
        bound = 1 / math.sqrt(i * math.prod(kernel))
        down = torch.empty(rank, i, *kernel).uniform_(-bound, bound, generator=generator)
        up = torch.zeros(o, rank, *ones)
        return cls(up.to(device, dtype), down.to(device, dtype), alpha)

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], weight_shape: torch.Size | None = None) -> LoRA:
        missing = [name for name in (UP, DOWN) if name not in tensors]
        if missing:
            raise UserError(f"{' and '.join(missing)} is missing")
        up, down = tensors[UP], _full_down(tensors)
        rank = down.shape[0] if down.ndim else 0
        if up.ndim not in (2, 4) or down.ndim != up.ndim or up.shape[1:].numel() != rank or rank == 0:
            raise UserError(f"lora_up {list(up.shape)} and lora_down {list(down.shape)} do not fit together")
        adapter = cls(up, down, _alpha(tensors, rank))
        if weight_shape is not None:
            adapter.fit(weight_shape)
        return adapter

    @classmethod
    def from_delta(cls, delta: Delta) -> LoRA:
        """A LoRA with the ΔW of a factored ``delta``, alpha = rank, and factors of equal norm, rank by rank."""
        up, down = delta.up, delta.down
        # Equal norms keep both factors as far from half-precision overflow and underflow as they can be.
        up_norm, down_norm = up.norm(dim=0), down.norm(dim=1)
        ratio = torch.where((up_norm > 0) & (down_norm > 0), (down_norm / up_norm).sqrt(), 1.0)
        kernel = delta.shape[2:]
        up = (up * ratio).reshape(*up.shape, *[1] * len(kernel))
        down = (down / ratio[:, None]).reshape(-1, *delta.shape[1:])
        return cls(up, down, down.shape[0])

    def tensors(self, dtype: torch.dtype | None = None) -> dict[str, Tensor]:
        up, down = (p.detach().to("cpu", dtype, copy=True).contiguous() for p in (self.up, self.down))
        return {UP: up, DOWN: down, ALPHA: torch.tensor(self.alpha, dtype=torch.float32)}

    def forward_delta(self, x: Tensor, layer: nn.Module) -> Tensor:
        if self.down.ndim == 2:
            return F.linear(F.linear(x, self.down), self.up * self.scale)
        h = F.conv2d(x, self.down, None, layer.stride, layer.padding, layer.dilation)
        return F.conv2d(h, self.up * self.scale)

    def add_delta(self, out: Tensor, x: Tensor, layer: nn.Module, weight: float | Tensor) -> Tensor:
        up, down = self.up, self.down
        if down.ndim != 2 or not x.dtype == out.dtype == down.dtype:
            return super().add_delta(out, x, layer, weight)
        h = x.flatten(0, -2) @ down.t()
        if isinstance(weight, Tensor):
            rows = h.view(x.shape[0], -1)  # one row per sample
            h, weight = (rows * per_sample(weight, rows)).view(h.shape), 1.0
        # The up projection, the scale and the sum in one GEMM: no temporary of the size of ``out``.
        total = torch.addmm(out.flatten(0, -2), h, up.t(), alpha=self.scale * weight)
        return total.view(out.shape)

    def delta(self) -> Delta:
        dtype = torch.promote_types(self.up.dtype, torch.float32)
        up, down = (p.detach().to(dtype).flatten(1) for p in (self.up, self.down))
        return Delta(self.weight_shape, up, down).scaled(self.scale)

    def fit(self, weight_shape: torch.Size) -> None:
        if weight_shape == self.weight_shape:
            return
        o, *rest = weight_shape
        same_size = o == self.weight_shape[0] and math.prod(rest) == self.weight_shape[1:].numel()
        if not same_size or rest[0] != self.down.shape[1]:
            raise misfit(self.weight_shape, weight_shape)
        self.down.data = self.down.data.reshape(self.rank, *rest)
        self.up.data = self.up.data.reshape(o, self.rank, *[1] * (len(rest) - 1))
        self.weight_shape = torch.Size(weight_shape)


def _full_down(tensors: Mapping[str, Tensor]) -> Tensor:
    """The down projection with the kernel in it; a Tucker core (``lora_mid`` [r, r, kh, kw]) is multiplied in."""
    down = tensors[DOWN]
    if MID not in tensors:
        return down
    mid = tensors[MID]
    if mid.ndim != 4 or mid.shape[1] != down.shape[0]:
        raise UserError(f"lora_mid {list(mid.shape)} and lora_down {list(down.shape)} do not fit together")
    return torch.einsum("nmkl,mj->njkl", mid.float(), down.flatten(1).float()).to(down.dtype)


def _alpha(tensors: Mapping[str, Tensor], rank: int) -> float:
    alpha = tensors.get(ALPHA)
    if alpha is None:
        return rank
    if alpha.numel() != 1:
        raise UserError(f"alpha should be one number, not {list(alpha.shape)}")
    return alpha.item()
