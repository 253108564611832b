"""LoKr (LyCORIS, Yeh et al. 2023, arXiv:2309.14859): ΔW = scale · W1 ⊗ W2, the Kronecker product of two small matrices.

Either factor is a full matrix or of low rank. The scale is alpha / rank, but 1 when both are full.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from typing_extensions import override

from lib_lora.adapters.base import Adapter, LayerSpec, alpha_of, apply_weight, at_least_float32, missing, stored, unfit
from lib_lora.adapters.delta import Delta
from lib_lora.adapters.factors import is_low, split_width, tucker_down
from lib_lora.models.weights import weight_shape

W1, W1_A, W1_B = "lokr_w1", "lokr_w1_a", "lokr_w1_b"
W2, W2_A, W2_B, T2 = "lokr_w2", "lokr_w2_a", "lokr_w2_b", "lokr_t2"
NAMES = (W1, W1_A, W1_B, W2, W2_A, W2_B, T2)


class LoKr(Adapter):
    """A Kronecker product. With o = o1·o2 outputs and i = i1·i2 inputs:

    Attributes:
        lokr_w1: [o1, i1], or None with ``lokr_w1_a`` [o1, r] and ``lokr_w1_b`` [r, i1].
        lokr_w2: [o2, i2(, kh, kw)], or None with ``lokr_w2_a`` [o2, r] and ``lokr_w2_b`` [r, i2·kh·kw]; with a Tucker
            core ``lokr_t2`` [r, r, kh, kw] they are [r, o2] and [r, i2].
        alpha: in a file of two full factors it has no effect.
    """

    algorithm = "lokr"
    label, place = "LoKr", 30
    multiplies = True
    options = ("rank", "alpha", "tucker", "factor", "decompose_both", "full_matrix")
    wrappable = True
    param_names = (*NAMES, "alpha")
    lokr_w1: Tensor | None
    lokr_w1_a: Tensor  # these two are there where lokr_w1 is None
    lokr_w1_b: Tensor
    lokr_w2: Tensor | None
    lokr_w2_a: Tensor  # and these where lokr_w2 is
    lokr_w2_b: Tensor
    lokr_t2: Tensor | None

    def __init__(self, tensors: Mapping[str, Tensor], alpha: float, weight_shape: torch.Size | None = None):
        super().__init__()
        for name in NAMES:
            self.register_parameter(name, nn.Parameter(tensors[name]) if name in tensors else None)
        full = self.lokr_w1 is not None and self.lokr_w2 is not None
        low = self.lokr_w1_b if self.lokr_w2 is not None else self.lokr_w2_b
        self.rank = 1 if full else low.shape[0]
        self.alpha = float(alpha)
        self.scale = 1.0 if full else self.alpha / self.rank
        self.scaled_param = W1 if self.lokr_w1 is not None else W1_A
        (o1, i1), (o2, i2, *kernel) = self._sizes()
        self.weight_shape = torch.Size((o1 * o2, i1 * i2, *kernel))
        if weight_shape is not None:
            self.fit(weight_shape)

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
    ) -> LoKr:
        o, i, *kernel = layer_shape
        (o1, o2), (i1, i2), r = split_width(o, spec.factor), split_width(i, spec.factor), spec.rank
        low1 = spec.decompose_both and not spec.full_matrix and r < max(o1, i1) / 2
        low2 = not spec.full_matrix and r < max(o2, i2) / 2
        tucker = low2 and spec.tucker and math.prod(kernel) > 1
        random: dict[str, tuple[int, ...]]
        zero: dict[str, tuple[int, ...]]
        random = {W1_A: (o1, r), W1_B: (r, i1)} if low1 else {W1: (o1, i1)}
        if tucker:
            random, zero = random | {W2_A: (r, o2), T2: (r, r, *kernel)}, {W2_B: (r, i2)}
        elif low2:
            random, zero = random | {W2_A: (o2, r)}, {W2_B: (r, i2 * math.prod(kernel))}
        else:
            zero = {W2: (o2, i2, *kernel)}
        tensors = {name: _kaiming(torch.empty(size), generator) for name, size in random.items()}
        tensors |= {name: torch.zeros(size) for name, size in zero.items()}
        tensors = {name: t.to(device, dtype) for name, t in tensors.items()}
        return cls(tensors, (spec.alpha or r) if low1 or low2 else 1.0, torch.Size(layer_shape))

    @classmethod
    @override
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> LoKr:
        low1, low2 = W1 not in tensors, W2 not in tensors
        missing(tensors, *((W1_A, W1_B) if low1 else (W1,)), *((W2_A, W2_B) if low2 else (W2,)))
        used = (*((W1_A, W1_B) if low1 else (W1,)), *((W2_A, W2_B) if low2 else (W2,)), *((T2,) if low2 else ()))
        parts = {name: tensors[name] for name in used if name in tensors}
        if not _fit_together(parts):
            raise unfit("LoKr", parts)
        ranks = [parts[name].shape[0] for name in (W2_B, W1_B) if name in parts]
        return cls(parts, alpha_of(tensors, ranks[0] if ranks else 1))

    @override
    def tensors(self, dtype: torch.dtype | None = None) -> dict[str, Tensor]:
        alpha = torch.tensor(self.alpha, dtype=torch.float32)
        return {name: stored(p, dtype) for name, p in self.named_parameters()} | {"alpha": alpha}

    @override
    def forward_delta(self, x: Tensor, layer: nn.Module) -> Tensor:
        w1, w2 = self._w1() * self.scale, self._w2()
        m, n = w1.shape[1], w2.shape[1]
        shape = weight_shape(layer)
        if len(shape) == 2:
            h = torch.einsum("...mn,kn->...mk", torch.unflatten(x, -1, (m, n)), w2.flatten(1))
            return torch.einsum("...mk,lm->...lk", h, w1).flatten(-2)
        if w2.ndim == 2:
            w2 = w2.reshape(-1, n // shape[2:].numel(), *shape[2:])
        # Each of the m groups of channels is an image of its own under W2; W1 mixes the groups.
        h = apply_weight(torch.unflatten(x, 1, (m, -1)).flatten(0, 1), w2, layer)
        h = torch.unflatten(h, 0, (-1, m))
        return torch.einsum("bm...,lm->bl...", h, w1).flatten(1, 2)

    @override
    def delta(self, base: Tensor | None = None) -> Delta:
        (a1, b1), (a2, b2) = self._pairs()
        o, n = self.weight_shape[0], self.weight_shape[1:].numel()
        if is_low(a1.shape[1] * a2.shape[1], o, n):
            return Delta(self.weight_shape, torch.kron(a1 * self.scale, a2), torch.kron(b1, b2))
        return Delta(self.weight_shape, dense_part=torch.kron(a1 @ b1 * self.scale, a2 @ b2))

    def _pairs(self) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """Both Kronecker factors as products of matrices; a full one is itself times the identity."""
        if self.lokr_w1 is None:
            first = at_least_float32(self.lokr_w1_a), at_least_float32(self.lokr_w1_b)
        else:
            first = _times_identity(at_least_float32(self.lokr_w1))
        if self.lokr_w2 is not None:
            return first, _times_identity(at_least_float32(self.lokr_w2).flatten(1))
        a, b = at_least_float32(self.lokr_w2_a), at_least_float32(self.lokr_w2_b)
        if self.lokr_t2 is None:
            return first, (a, b.flatten(1))
        return first, (a.T.contiguous(), tucker_down(at_least_float32(self.lokr_t2), b).flatten(1))

    @override
    def fits(self, weight_shape: torch.Size) -> bool:
        known = len(self.weight_shape) == 4 and math.prod(self.weight_shape[2:]) > 1
        return super().fits(weight_shape) and (not known or weight_shape == self.weight_shape)

    def _sizes(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The shapes of W1 and W2, without calculating them."""
        first = self.lokr_w1.shape if self.lokr_w1 is not None else (len(self.lokr_w1_a), self.lokr_w1_b.shape[1])
        if self.lokr_w2 is not None:
            return first, self.lokr_w2.shape
        if self.lokr_t2 is not None:
            return first, (self.lokr_w2_a.shape[1], self.lokr_w2_b.shape[1], *self.lokr_t2.shape[2:])
        return first, (len(self.lokr_w2_a), *self.lokr_w2_b.shape[1:])

    def _w1(self) -> Tensor:
        return self.lokr_w1 if self.lokr_w1 is not None else self.lokr_w1_a @ self.lokr_w1_b

    def _w2(self) -> Tensor:
        """[o2, i2, kh, kw] where the kernel is known, else [o2, i2·kh·kw]."""
        if self.lokr_w2 is not None:
            return self.lokr_w2
        if self.lokr_t2 is not None:
            return torch.einsum("rk,rnab->knab", self.lokr_w2_a, tucker_down(self.lokr_t2, self.lokr_w2_b))
        product = self.lokr_w2_a @ self.lokr_w2_b.flatten(1)
        return product.reshape(-1, *self.lokr_w2_b.shape[1:])


def _times_identity(matrix: Tensor) -> tuple[Tensor, Tensor]:
    rows, columns = matrix.shape
    if rows <= columns:
        return torch.eye(rows, dtype=matrix.dtype, device=matrix.device), matrix
    return matrix, torch.eye(columns, dtype=matrix.dtype, device=matrix.device)


def _fit_together(parts: Mapping[str, Tensor]) -> bool:
    """Whether the tensors that are there have shapes that multiply."""
    shapes = {name: tuple(t.shape) for name, t in parts.items()}
    if any(0 in shape for shape in shapes.values()):
        return False
    if any(len(shapes[name]) != 2 for name in (W1, W1_A, W1_B, W2_A) if name in shapes):
        return False
    if W1_A in shapes and shapes[W1_A][1] != shapes[W1_B][0]:
        return False
    if W2 in shapes:
        return len(shapes[W2]) in (2, 4)
    if T2 in shapes:
        r = shapes[W2_A][0]
        return len(shapes[T2]) == 4 and shapes[T2][:2] == (r, r) and shapes[W2_B][:1] == (r,) and len(shapes[W2_B]) == 2
    return len(shapes[W2_B]) in (2, 4) and shapes[W2_A][1] == shapes[W2_B][0]


def _kaiming(weight: Tensor, generator: torch.Generator | None) -> Tensor:
    bound = 1 / math.sqrt(weight[0].numel())
    return weight.uniform_(-bound, bound, generator=generator)
