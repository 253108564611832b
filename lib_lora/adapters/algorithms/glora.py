"""GLoRA (Chavan et al. 2023, arXiv:2306.07967; LyCORIS): ΔW = alpha/rank · (B1 B2 + W A1 A2).

Two layouts are in the wild. LyCORIS writes A1 [i, r], A2 [r, i], B1 [o, r], B2 [r, i]; older files swap the two of each
pair. They are told apart by shape, on square layers by the rank being the smaller size; the newer one is written.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar

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
    base_of,
    missing,
    required_base,
    stored,
    unfit,
)
from lib_lora.adapters.delta import Delta

NAMES = A1, A2, B1, B2 = ("a1.weight", "a2.weight", "b1.weight", "b2.weight")


class GLoRA(Adapter):
    """A low-rank ΔW beside a low-rank change of the layer's input.

    Attributes:
        a1: [i, r]; a2: [r, i]; b1: [o, r]; b2: [r, i·kh·kw].
    """

    algorithm = "glora"
    label, place = "GLoRA", 50
    elsewhere: ClassVar[Mapping[str, str]] = {
        "AUTOMATIC1111": "fails on GLoRA, whose matrices it multiplies in another order"
    }
    param_names = (*NAMES, "alpha")
    needs_base = True

    def __init__(self, a1: Tensor, a2: Tensor, b1: Tensor, b2: Tensor, alpha: float, weight_shape: torch.Size):
        super().__init__()
        self.a1, self.a2, self.b1, self.b2 = (nn.Parameter(t) for t in (a1, a2, b1, b2))
        self.rank = a2.shape[0]
        self.alpha = float(alpha)
        self.scale = self.alpha / self.rank
        self.weight_shape = weight_shape

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
    ) -> GLoRA:
        o, i, *kernel = layer_shape
        r, bound = spec.rank, 1 / math.sqrt(spec.rank)
        a1, b1 = (torch.empty(n, r).uniform_(-bound, bound, generator=generator) for n in (i, o))
        parts = (a1, torch.zeros(r, i), b1, torch.zeros(r, i * math.prod(kernel)))
        a1, a2, b1, b2 = (t.to(device, dtype) for t in parts)
        return cls(a1, a2, b1, b2, spec.alpha or r, torch.Size(layer_shape))

    @classmethod
    @override
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> GLoRA:
        missing(tensors, *NAMES)
        a1, a2, b1, b2 = (tensors[name] for name in NAMES)
        error = unfit("GLoRA", {name: tensors[name] for name in NAMES})
        if any(t.ndim not in (2, 4) for t in (a1, a2, b1, b2)):
            raise error
        if _chained(a2, a1, b2, b1) and (a2.shape[1] < a1.shape[1] or not _chained(a1, a2, b1, b2)):
            a1, a2, b1, b2 = a2, a1, b2, b1
        kernel = b2.shape[2:]
        a1, a2, b1, b2 = (t.flatten(1) for t in (a1, a2, b1, b2))
        i, r = a1.shape
        if not _chained(a1, a2, b1, b2) or b2.shape[1] != i * max(1, kernel.numel()) or r == 0:
            raise error
        shape = torch.Size((b1.shape[0], i, *kernel))
        return cls(a1, a2, b1, b2, alpha_of(tensors, r), shape)

    @override
    def tensors(self, dtype: torch.dtype | None = None) -> dict[str, Tensor]:
        parts = {name: stored(p, dtype) for name, p in zip(NAMES, (self.a1, self.a2, self.b1, self.b2), strict=True)}
        if len(self.weight_shape) == 4:
            parts = {name: t.reshape(*t.shape, 1, 1) if name != B2 else t for name, t in parts.items()}
            parts[B2] = parts[B2].reshape(self.rank, *self.weight_shape[1:])
        return parts | {"alpha": torch.tensor(self.alpha, dtype=torch.float32)}

    @override
    def forward_delta(self, x: Tensor, layer: nn.Module) -> Tensor:
        base = base_of(layer, x)
        if base.ndim == 2:
            inside = F.linear(F.linear(x, self.a2), base @ self.a1)
            return (inside + F.linear(F.linear(x, self.b2), self.b1)) * self.scale
        inside = F.conv2d(x, self.a2[:, :, None, None])
        inside = apply_weight(inside, torch.einsum("oikl,ir->orkl", base, self.a1), layer)
        beside = apply_weight(x, self.b2.reshape(self.rank, *base.shape[1:]), layer)
        return (inside + F.conv2d(beside, self.b1[:, :, None, None])) * self.scale

    @override
    def delta(self, base: Tensor | None = None) -> Delta:
        base = required_base(base, "GLoRA")
        a1, a2, b1, b2 = (at_least_float32(p) for p in (self.a1, self.a2, self.b1, self.b2))
        inner = torch.einsum("oik,ir->ork", base.flatten(1).reshape(*base.shape[:2], -1), a1)
        identity = torch.eye(inner.shape[2], dtype=base.dtype, device=base.device)
        up = torch.cat([b1, inner.flatten(1)], dim=1) * self.scale
        return Delta(base.shape, up, torch.cat([b2, torch.kron(a2, identity)]))

    @override
    def fits(self, weight_shape: torch.Size) -> bool:
        return super().fits(weight_shape) and weight_shape[1] == self.weight_shape[1]


def _chained(a1: Tensor, a2: Tensor, b1: Tensor, b2: Tensor) -> bool:
    """Whether the shapes are those of LyCORIS' layout."""
    i, r = a1.shape[:2]
    return tuple(a2.shape[:2]) == (r, i) and b1.shape[1] == r and b2.shape[0] == r
