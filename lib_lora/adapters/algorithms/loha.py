"""LoHa (FedPara, Hyeon-Woo et al. 2021, arXiv:2108.06098; LyCORIS): ΔW = alpha/rank · (A1 B1) ∘ (A2 B2).

The product of two matrices of rank r has rank r², exactly: its factors are row-wise Khatri–Rao products.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from lib_lora.adapters.base import Adapter, LayerSpec, alpha_of, apply_weight, at_least_float32, missing, stored, unfit
from lib_lora.adapters.delta import Delta
from lib_lora.adapters.factors import is_low, rows_product, tucker_down

FACTORS = ("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b")
CORES = ("hada_t1", "hada_t2")


class LoHa(Adapter):
    """The Hadamard product of two low-rank matrices.

    Attributes:
        hada_w1_a, hada_w2_a: [o, r]; with cores [r, o].
        hada_w1_b, hada_w2_b: [r, i·kh·kw]; with cores [r, i].
        hada_t1, hada_t2: None, or Tucker cores [r, r, kh, kw].
    """

    algorithm = "loha"
    label, place = "LoHa", 20
    multiplies = True
    options = ("rank", "alpha", "tucker")
    wrappable = True
    param_names = (*FACTORS, *CORES, "alpha")
    scaled_param = "hada_w1_a"
    hada_w1_a: Tensor
    hada_w1_b: Tensor
    hada_w2_a: Tensor
    hada_w2_b: Tensor
    hada_t1: Tensor | None
    hada_t2: Tensor | None

    def __init__(self, tensors: Mapping[str, Tensor], alpha: float, weight_shape: torch.Size):
        super().__init__()
        for name in (*FACTORS, *CORES):
            self.register_parameter(name, nn.Parameter(tensors[name]) if name in tensors else None)
        self.rank = self.hada_w1_b.shape[0]
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
    ) -> LoHa:
        o, i, *kernel = layer_shape
        r, tucker = spec.rank, spec.tucker and math.prod(kernel) > 1
        inner = (r, i) if tucker else (r, i * math.prod(kernel))
        outer = (r, o) if tucker else (o, r)
        sizes: dict[str, tuple[tuple[int, ...], float]]
        sizes = {"hada_w1_a": (outer, 0.1), "hada_w1_b": (inner, 1.0), "hada_w2_b": (inner, 1.0)}
        sizes |= {name: ((r, r, *kernel), 0.1) for name in CORES if tucker}
        tensors = {name: torch.randn(size, generator=generator) * std for name, (size, std) in sizes.items()}
        tensors["hada_w2_a"] = torch.zeros(outer)
        return cls({k: t.to(device, dtype) for k, t in tensors.items()}, spec.alpha or r, torch.Size(layer_shape))

    @classmethod
    @override
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> LoHa:
        tucker = any(name in tensors for name in CORES)
        names = (*FACTORS, *(CORES if tucker else ()))
        missing(tensors, *names)
        shapes = [tensors[name].shape for name in names]
        (a1, b1, a2, b2), cores = shapes[:4], shapes[4:]
        matrices = all(len(shape) == 2 for shape in shapes[:4])
        r = b1[0] if matrices else 0
        outer = a1[1:] if tucker else a1[:1]
        fit = matrices and r > 0 and a1 == a2 and b1 == b2 and a1[0 if tucker else 1] == r
        if not fit or any(len(core) != 4 or core[:2] != (r, r) or core != cores[0] for core in cores):
            raise unfit("LoHa", {name: tensors[name] for name in names})
        shape = torch.Size((*outer, b1[1], *(cores[0][2:] if tucker else ())))
        return cls(tensors, alpha_of(tensors, r), shape)

    @override
    def tensors(self, dtype: torch.dtype | None = None) -> dict[str, Tensor]:
        alpha = torch.tensor(self.alpha, dtype=torch.float32)
        return {name: stored(p, dtype) for name, p in self.named_parameters()} | {"alpha": alpha}

    @override
    def forward_delta(self, x: Tensor, layer: nn.Module) -> Tensor:
        pairs = self._pairs()
        o, n = self.weight_shape[0], self.weight_shape[1:].numel()
        if self.weight_shape == (o, n) and is_low(self.rank**2, o, n):
            up, down = _khatri_rao(pairs)
            return F.linear(F.linear(x, down), up * self.scale)
        (a1, b1), (a2, b2) = pairs
        weight = ((a1 @ b1) * (a2 @ b2) * self.scale).reshape(self.weight_shape)
        return apply_weight(x, weight, layer)

    @override
    def delta(self, base: Tensor | None = None) -> Delta:
        pairs = self._pairs(at_least_float32)
        o, n = self.weight_shape[0], self.weight_shape[1:].numel()
        if is_low(self.rank**2, o, n):
            (a1, b1), rest = pairs
            up, down = _khatri_rao([(a1 * self.scale, b1), rest])
            return Delta(self.weight_shape, up, down)
        (a1, b1), (a2, b2) = pairs
        return Delta(self.weight_shape, dense_part=(a1 @ b1) * (a2 @ b2) * self.scale)

    @override
    def fits(self, weight_shape: torch.Size) -> bool:
        return super().fits(weight_shape) and (self.hada_t1 is None or weight_shape == self.weight_shape)

    def _pairs(self, taken: Callable[[Tensor], Tensor] = lambda part: part) -> list[tuple[Tensor, Tensor]]:
        """The two factor pairs as matrices [o, r], [r, i·kh·kw]; cores belong to the second of a pair.

        Args:
            taken: what is done to each tensor before anything is multiplied.
        """
        (a1, b1), (a2, b2) = (
            (taken(a), taken(b)) for a, b in ((self.hada_w1_a, self.hada_w1_b), (self.hada_w2_a, self.hada_w2_b))
        )
        if self.hada_t1 is None or self.hada_t2 is None:
            return [(a1, b1), (a2, b2)]
        groups = ((taken(self.hada_t1), a1, b1), (taken(self.hada_t2), a2, b2))
        return [(a.T, tucker_down(core, b).flatten(1)) for core, a, b in groups]


def _khatri_rao(pairs: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """The factors [o, r²], [r², n] of the Hadamard product of two factored matrices."""
    (a1, b1), (a2, b2) = pairs
    return rows_product(a1, a2), (b1[:, None, :] * b2[None, :, :]).flatten(0, 1)
