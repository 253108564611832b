"""ΔW, the change an adapter makes to one weight, kept factored."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lib_lora.adapters.tall import leading_svd, orthogonal


@dataclass(frozen=True, eq=False)
class Delta:
    """``up @ down + dense_part``, seen as a matrix [out, in·kh·kw] of a weight of ``shape``.

    Sums, differences and scalings are exact: factors are concatenated, never multiplied out. Norms, singular values
    and truncation work on the small core ``R_up @ R_downᵀ`` left by QR of the factors, in float64, so that their cost
    is linear in the size of the weight and quadratic in the rank.

    Args:
        shape: shape of the weight this is added to, [o, i] or [o, i, kh, kw].
        up: [o, r] or None.
        down: [r, i·kh·kw] or None; present exactly when ``up`` is.
        dense_part: [o, i·kh·kw] or None, for algorithms whose ΔW has no low rank.
        bias: [o] or None, what is added to the layer's bias; no part of norms, spectra and truncation.
    """

    shape: torch.Size
    up: Tensor | None = None
    down: Tensor | None = None
    dense_part: Tensor | None = None
    bias: Tensor | None = None

    def __post_init__(self) -> None:
        if (self.up is None) != (self.down is None):
            raise ValueError("up and down come together")

    @property
    def rank(self) -> int | None:
        """Columns of ``up``; None when there is a dense part."""
        if self.dense_part is not None:
            return None
        return 0 if self.up is None else self.up.shape[1]

    @property
    def matrix_shape(self) -> tuple[int, int]:
        """(o, i·kh·kw)."""
        return self.shape[0], self.shape[1:].numel()

    def scaled(self, weight: float) -> Delta:
        """``weight``·ΔW; the sign and the size are applied once, to ``up``."""
        up = None if self.up is None else self.up * weight
        dense = None if self.dense_part is None else self.dense_part * weight
        bias = None if self.bias is None else self.bias * weight
        return Delta(self.shape, up, self.down, dense, bias)

    def __mul__(self, weight: float) -> Delta:
        return self.scaled(weight)

    __rmul__ = __mul__

    def __add__(self, other: Delta) -> Delta:
        if self.matrix_shape != other.matrix_shape:
            raise ValueError(f"cannot add deltas of weights {tuple(self.shape)} and {tuple(other.shape)}")
        up = _join(self.up, other.up, dim=1)
        down = _join(self.down, other.down, dim=0)
        dense = _sum(self.dense_part, other.dense_part)
        shape = max(self.shape, other.shape, key=len)  # one may know the kernel, the other only its matrix
        return Delta(shape, up, down, dense, _sum(self.bias, other.bias))

    def __sub__(self, other: Delta) -> Delta:
        return self + other.scaled(-1.0)

    def matrix(self) -> Tensor:
        """ΔW multiplied out, [o, i·kh·kw]."""
        product = None if self.up is None else self.up @ self.down
        total = _sum(product, self.dense_part)
        return torch.zeros(self.matrix_shape) if total is None else total

    def dense(self) -> Tensor:
        """ΔW multiplied out, in ``shape``."""
        return self.matrix().reshape(self.shape)

    def norm(self) -> float:
        """Frobenius norm; exact under cancellation (``(a - a).norm()`` is rounding noise, not its square root)."""
        if self.dense_part is not None:
            return self.matrix().double().norm().item()
        return self._core().norm().item()

    def singular_values(self) -> Tensor:
        """Singular values of the matrix view, descending, float64, at most ``rank`` of them where ΔW is factored."""
        matrix = self._core() if self.dense_part is None else self.matrix().double()
        return torch.linalg.svdvals(matrix)

    def truncated(self, rank: int) -> tuple[Delta, float]:
        """The best approximation of rank ≤ ``rank`` (Eckart–Young) and its relative Frobenius error.

        The singular values are shared evenly between the factors, which keeps both within half-precision range.
        """
        if rank < 1:
            raise ValueError(f"rank must be at least 1, not {rank}")
        delta, spectrum = self.with_spectrum(rank)
        return delta, tail_error(spectrum, rank)

    def with_spectrum(self, rank: int) -> tuple[Delta, Tensor]:
        """As :meth:`truncated`, with all singular values [min(r, o, i·kh·kw)] in place of the error."""
        dtype = _dtype(self)
        left, values, right = self._svd(rank)
        root = values[:rank].sqrt().to(dtype)
        return Delta(self.shape, left.to(dtype) * root, root[:, None] * right.to(dtype), bias=self.bias), values

    def reduced(self, rank: int | None = None, energy: float | None = None) -> tuple[Delta, Tensor]:
        """The best approximation within a rank, or of the smallest rank that keeps a share of Σσ²; and the spectrum.

        Args:
            rank: at most this; None is no bound.
            energy: share of Σσ² to keep, 0 to 1; None keeps what ``rank`` allows.
        """
        if energy is None:
            return self.with_spectrum(rank or min(self.matrix_shape))
        delta, spectrum = self.with_spectrum(rank or min(self.matrix_shape))
        kept = rank_for_energy(spectrum, energy)
        return Delta(self.shape, delta.up[:, :kept], delta.down[:kept], bias=self.bias), spectrum

    def _svd(self, rank: int) -> tuple[Tensor, Tensor, Tensor]:
        """The first ``rank`` left vectors [o, k], all singular values, the first right vectors [k, i·kh·kw]."""
        if self.dense_part is not None:
            left, values, right = torch.linalg.svd(self.matrix().double(), full_matrices=False)
            return left[:, :rank], values, right[:rank]
        if self.rank == 0:
            o, n = self.matrix_shape
            return torch.zeros(o, 0), torch.zeros(0), torch.zeros(0, n)
        from_up, r_up = orthogonal(self.up)
        from_down, r_down = orthogonal(self.down.T)
        left, values, right = leading_svd(r_up @ r_down.T, rank)
        return from_up(left), values, from_down(right.T).T

    def _core(self) -> Tensor:
        """R_up @ R_downᵀ, which has the singular values of ΔW."""
        if self.rank == 0:
            return torch.zeros(0, 0, dtype=torch.float64)
        r_up = torch.linalg.qr(self.up.double(), mode="r").R
        r_down = torch.linalg.qr(self.down.double().T, mode="r").R
        return r_up @ r_down.T


def tail_error(spectrum: Tensor, rank: int) -> float:
    """Relative Frobenius error of keeping the first ``rank`` singular values; 0 for a zero matrix."""
    total = spectrum.norm().item()
    return spectrum[rank:].norm().item() / total if total > 0 else 0.0


def rank_for_energy(spectrum: Tensor, energy: float) -> int:
    """The smallest rank ≥ 1 that keeps this share of Σσ²; rounding noise does not count."""
    squares = spectrum.double().square()
    lost = squares.flip(0).cumsum(0).flip(0)  # lost[k] is what rank k leaves out
    allowed = max(1 - energy, 1e-14) * squares.sum()
    return max(1, int((lost > allowed).sum().item()))


def _join(a: Tensor | None, b: Tensor | None, dim: int) -> Tensor | None:
    present = [t for t in (a, b) if t is not None]
    return torch.cat(present, dim) if present else None


def _sum(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    if a is None or b is None:
        return b if a is None else a
    return a + b


def _dtype(delta: Delta) -> torch.dtype:
    for tensor in (delta.up, delta.dense_part):
        if tensor is not None:
            return tensor.dtype
    return torch.float32
