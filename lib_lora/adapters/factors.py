"""Products of factored matrices, and the factorisations of a width, that several algorithms share."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def rows_product(a: Tensor, b: Tensor) -> Tensor:
    """The row-wise Khatri–Rao product: [o, r], [o, s] -> [o, r·s].

    With it (A1 B1) ∘ (A2 B2) = rows_product(A1, A2) @ rows_product(B1ᵀ, B2ᵀ)ᵀ (Slyusar 1999).
    """
    return (a[:, :, None] * b[:, None, :]).flatten(1)


def is_low(rank: int, rows: int, columns: int) -> bool:
    """Whether factors of this rank are smaller than the matrix."""
    return rank * (rows + columns) < rows * columns


def tucker_down(core: Tensor, down: Tensor) -> Tensor:
    """A Tucker core [r, s, kh, kw] times its input projection [s, i]: [r, i, kh, kw]."""
    return torch.einsum("rskl,si->rikl", core, down)


def split_width(width: int, factor: int = -1) -> tuple[int, int]:
    """``width`` as a product m·n with m ≤ n and m ≤ ``factor``; -1 is as square as possible. As LyCORIS does it."""
    if factor > 0 and width % factor == 0:
        m, n = sorted((factor, width // factor))
        return m, n
    limit = math.isqrt(width) if factor < 0 else min(factor, math.isqrt(width))
    m = max(d for d in range(1, limit + 1) if width % d == 0)
    return m, width // m


def split_power_of_two(width: int, block: int) -> tuple[int, int]:
    """``width`` as (size of a block, number of blocks), the number a power of two, the size even and ≤ ``block``.

    (0, 0) where there is none. As LyCORIS does it for BOFT.
    """
    sizes = [width // 2**p for p in range(width.bit_length()) if width % 2**p == 0]
    fitting = [size for size in sizes if size % 2 == 0 and size <= block]
    return (max(fitting), width // max(fitting)) if fitting else (0, 0)
