"""LoRA (Hu et al. 2021, arXiv:2106.09685) and LoCon, its form for convolutions: ΔW = alpha/rank · up @ down."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from lib_lora.adapters.base import (
    Adapter,
    LayerSpec,
    alpha_of,
    apply_weight,
    at_least_float32,
    channel_axis,
    missing,
    per_sample,
    stored,
    unfit,
)
from lib_lora.adapters.delta import Delta
from lib_lora.adapters.dropout import LayerDropout
from lib_lora.adapters.factors import tucker_down
from lib_lora.adapters.tall import column_norms
from lib_lora.models.borrowed import autocasts, computing_type

EQUAL = 1e-3  # norms of two factors that differ by less are left as they are
UP, DOWN, MID, ALPHA, BIAS = "lora_up.weight", "lora_down.weight", "lora_mid.weight", "alpha", "diff_b"


class LoRA(Adapter):
    """A linear layer or a convolution with a low-rank ΔW.

    Attributes:
        up: [o, r], or [o, r, 1, 1] for a convolution.
        down: [r, i], or [r, i, kh, kw]: the kernel, stride and padding belong to the down projection, or to ``mid``.
        mid: None, or the core [r, r, kh, kw] of a Tucker decomposition; ``down`` is then [r, i, 1, 1].
        bias: None, or the change of the layer's bias [o], as merges with a full difference have it.
        alpha: ΔW is scaled by alpha / rank.
    """

    algorithm = "lora"
    label, place = "LoRA", 0
    multiplies = True
    options = ("rank", "alpha", "tucker")
    wrappable = True
    lycoris = "locon"
    param_names = (UP, DOWN, MID, ALPHA, BIAS)
    scaled_param = UP

    def __init__(self, up: Tensor, down: Tensor, alpha: float, mid: Tensor | None = None, bias: Tensor | None = None):
        super().__init__()
        self.up = nn.Parameter(up)
        self.down = nn.Parameter(down)
        self.mid = None if mid is None else nn.Parameter(mid)
        self.bias = None if bias is None else nn.Parameter(bias)
        self.rank = down.shape[0]
        self.alpha = float(alpha)
        self.scale = self.alpha / self.rank
        kernel = down.shape[2:] if mid is None else mid.shape[2:]
        self.weight_shape = torch.Size((up.shape[0], down.shape[1], *kernel))

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
    ) -> LoRA:
        o, i, *kernel = layer_shape
        rank, ones = spec.rank, [1] * len(kernel)
        tucker = spec.tucker and math.prod(kernel) > 1
        down = _kaiming(torch.empty(rank, i, *(ones if tucker else kernel)), generator).to(device, dtype)
        mid = _kaiming(torch.empty(rank, rank, *kernel), generator).to(device, dtype) if tucker else None
        up = torch.zeros(o, rank, *ones, dtype=dtype, device=device)
        return cls(up, down, spec.alpha or rank, mid)

    @classmethod
    @override
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> LoRA:
        missing(tensors, UP, DOWN)
        up, down, mid, bias = tensors[UP], tensors[DOWN], tensors.get(MID), tensors.get(BIAS)
        rank = down.shape[0] if down.ndim else 0
        if up.ndim not in (2, 4) or down.ndim != up.ndim or up.shape[1:].numel() != rank or rank == 0:
            raise unfit("LoRA", {UP: up, DOWN: down})
        if mid is not None and (mid.ndim != 4 or mid.shape[:2] != (rank, rank) or down.shape[2:].numel() != 1):
            raise unfit("LoRA", {MID: mid, DOWN: down})
        if bias is not None and bias.shape != up.shape[:1]:
            raise unfit("LoRA", {UP: up, BIAS: bias})
        if mid is not None:
            up, down = (t.reshape(*t.shape[:2], 1, 1) for t in (up, down))
        return cls(up, down, alpha_of(tensors, rank), mid, bias)

    @classmethod
    def from_delta(cls, delta: Delta) -> LoRA:
        """A LoRA with the ΔW of a factored ``delta``, alpha = rank, and factors of equal norm, rank by rank."""
        return cls.from_tensors(cls.tensors_of(delta))

    @staticmethod
    def tensors_of(delta: Delta, even: bool = False) -> dict[str, Tensor]:
        """What :meth:`tensors` of :meth:`from_delta` has, without a copy: some may be ``delta``'s own.

        Args:
            even: the factors are of equal norm already, as after a truncation.
        """
        up, down = delta.up, delta.down
        if up is None or down is None:
            raise ValueError("a ΔW that is not factored")
        # Equal norms keep both factors as far from half-precision overflow and underflow as they can be.
        if not even and not up.is_meta:  # of tensors without memory only the shapes count
            up_norm, down_norm = column_norms(up), down.norm(dim=1)
            ratio = torch.where((up_norm > 0) & (down_norm > 0), (down_norm / up_norm).sqrt(), 1.0)
            if ((ratio - 1).abs() > EQUAL).any():
                up, down = up * ratio, down / ratio[:, None]
        ones = [1] * len(delta.shape[2:])
        params = {UP: up.reshape(*up.shape, *ones), DOWN: down.reshape(-1, *delta.shape[1:]), BIAS: delta.bias}
        alpha = torch.tensor(float(down.shape[0]))
        return {n: p if p.is_meta else p.cpu() for n, p in params.items() if p is not None} | {ALPHA: alpha}

    @staticmethod
    def as_stored(params: Mapping[str, Tensor]) -> tuple[Delta, float] | None:
        """ΔW of a layer's tensors, without its scale and in their own precision, and the scale: nothing is copied.

        None for what :meth:`delta` has to calculate, and for what :meth:`from_tensors` refuses.
        """
        if not {UP, DOWN} <= params.keys() <= {UP, DOWN, ALPHA}:
            return None
        up, down = params[UP].detach(), params[DOWN].detach()
        rank = down.shape[0] if down.ndim else 0
        fit = up.ndim == down.ndim and up.ndim in (2, 4) and up.shape[1:].numel() == rank > 0
        if not fit or (ALPHA in params and params[ALPHA].numel() != 1) or torch.float64 in (up.dtype, down.dtype):
            return None
        shape = torch.Size((up.shape[0], *down.shape[1:]))
        return Delta(shape, up.flatten(1), down.flatten(1)), alpha_of(params, rank) / rank

    @override
    def tensors(self, dtype: torch.dtype | None = None) -> dict[str, Tensor]:
        params = {UP: self.up, DOWN: self.down, MID: self.mid, BIAS: self.bias}
        alpha = torch.tensor(self.alpha, dtype=torch.float32)
        return {name: stored(p, dtype) for name, p in params.items() if p is not None} | {ALPHA: alpha}

    @override
    def forward_delta(self, x: Tensor, layer: nn.Module) -> Tensor:
        return self._up(self._down(x, layer))

    @override
    def add_delta(
        self, out: Tensor, x: Tensor, layer: nn.Module, weight: float | Tensor, dropout: LayerDropout | None = None
    ) -> Tensor:
        if dropout is not None:
            axis = channel_axis(layer)
            h = dropout.by_noise(dropout.nested(self._down(self.taken(x), layer), axis), axis)
            delta = self._up(dropout(h, axis))
            return out + (delta * weight).to(out.dtype)
        up, down = self.up, self.down
        same = x.dtype == out.dtype == (computing_type(x) if autocasts(x) else down.dtype)
        if down.ndim != 2 or self.bias is not None or not same:
            return super().add_delta(out, x, layer, weight)
        h = F.linear(x.flatten(0, -2), down)
        if isinstance(weight, Tensor):
            rows = h.view(x.shape[0], -1)  # one row per sample
            h, weight = (rows * per_sample(weight, rows)).view(h.shape), 1.0
        # The up projection, the scale and the sum in one GEMM: no temporary of the size of ``out``.
        total = torch.addmm(out.flatten(0, -2), h, up.t(), alpha=self.scale * weight)
        return total.view(out.shape)

    def _down(self, x: Tensor, layer: nn.Module) -> Tensor:
        """Activations of the rank: [B, …, r], or [B, r, h, w] for a convolution."""
        if self.down.ndim == 2:
            return F.linear(x, self.down)
        if self.mid is None:
            return apply_weight(x, self.down, layer)
        return apply_weight(F.conv2d(x, self.down), self.mid, layer)

    def _up(self, h: Tensor) -> Tensor:
        project = F.linear if self.up.ndim == 2 else F.conv2d
        return project(h, self.up * self.scale, self.bias)

    @override
    def delta(self, base: Tensor | None = None) -> Delta:
        up, down = at_least_float32(self.up, self.scale).flatten(1), at_least_float32(self.down)
        if self.mid is not None:
            down = tucker_down(at_least_float32(self.mid), down.flatten(1))
        bias = None if self.bias is None else at_least_float32(self.bias)
        return Delta(self.weight_shape, up, down.flatten(1), bias=bias)

    @override
    def fits(self, weight_shape: torch.Size) -> bool:
        return super().fits(weight_shape) and weight_shape[1] == self.weight_shape[1]

    @override
    def reshape(self, weight_shape: torch.Size) -> None:
        o, *rest = weight_shape
        self.down.data = self.down.data.reshape(self.rank, *rest)
        self.up.data = self.up.data.reshape(o, self.rank, *[1] * (len(rest) - 1))


def _kaiming(weight: Tensor, generator: torch.Generator | None) -> Tensor:
    """``kaiming_uniform`` with a=√5, as nn.Linear and kohya's trainer do it: U(±1/√fan_in)."""
    bound = 1 / math.sqrt(weight[0].numel())
    return weight.uniform_(-bound, bound, generator=generator)
