"""ΔW, the change an adapter makes to one weight, kept factored."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lib_lora.adapters.krylov import leading_by_krylov
from lib_lora.adapters.tall import column_norms, leading_svd, orthogonal

ROUNDING = 8.0  # of the precision's ε and of the parts' sizes: what cancels to less is noise


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
        if weight == 1:
            return self
        up = None if self.up is None else self.up * weight
        dense = None if self.dense_part is None else self.dense_part * weight
        bias = None if self.bias is None else self.bias * weight
        return Delta(self.shape, up, self.down, dense, bias)

    def __mul__(self, weight: float) -> Delta:
        return self.scaled(weight)

    __rmul__ = __mul__

    def __add__(self, other: Delta) -> Delta:
        return Delta.sum([self, other])

    @staticmethod
    def sum(parts: Sequence[Delta], weights: Sequence[float] | None = None) -> Delta:
        """The sum of one or more, joined at once; factors that are narrower than float32 are widened on the way.

        Args:
            weights: of the parts, as :meth:`scaled` has them; at the cost of the sum alone.

        Raises:
            ValueError: they are of different sizes.
        """
        if any(part.matrix_shape != parts[0].matrix_shape for part in parts):
            raise ValueError(f"cannot add deltas of weights {[tuple(part.shape) for part in parts]}")
        weights = weights or [1.0] * len(parts)
        ups = [(part.up, weight) for part, weight in zip(parts, weights, strict=True) if part.up is not None]
        downs = [part.down for part in parts if part.down is not None]
        parts = [replace(part, up=None, down=None).scaled(weight) for part, weight in zip(parts, weights, strict=True)]
        return Delta(
            max((part.shape for part in parts), key=len),  # one may know the kernel, the other only its matrix
            _side_by_side(ups) if ups else None,
            _stacked(downs) if downs else None,
            _total(part.dense_part for part in parts),
            _total(part.bias for part in parts),
        )

    def __sub__(self, other: Delta) -> Delta:
        return self + other.scaled(-1.0)

    def matrix(self) -> Tensor:
        """ΔW multiplied out, [o, i·kh·kw]."""
        product = None if self.up is None or self.down is None else self.up @ self.down
        total = _total([product, self.dense_part])
        return torch.zeros(self.matrix_shape) if total is None else total

    def dense(self) -> Tensor:
        """ΔW multiplied out, in ``shape``."""
        return self.matrix().reshape(self.shape)

    def norm(self) -> float:
        """Frobenius norm; exact under cancellation (``(a - a).norm()`` is rounding noise, not its square root)."""
        if self.dense_part is not None:
            return float(self.matrix().double().norm())
        return float(self._core().norm())

    def singular_values(self) -> Tensor:
        """Singular values of the matrix view, descending, float64, at most ``rank`` of them where ΔW is factored."""
        matrix = self._core() if self.dense_part is None else self.matrix().double()
        values: Tensor = torch.linalg.svdvals(matrix)
        return values

    def truncated(self, rank: int) -> tuple[Delta, float]:
        """The best approximation of rank ≤ ``rank`` (Eckart–Young) and its relative Frobenius error.

        The singular values are shared evenly between the factors, which keeps both within half-precision range.
        """
        if rank < 1:
            raise ValueError(f"rank must be at least 1, not {rank}")
        delta, spectrum = self.with_spectrum(rank)
        return delta, tail_error(spectrum, rank)

    def with_spectrum(self, rank: int, noise: float = 0.0) -> tuple[Delta, Tensor]:
        """As :meth:`truncated`, with all singular values [min(r, o, i·kh·kw)] in place of the error.

        What is left where factors cancel each other is rounding noise, and counts as 0. Of a large dense ΔW, values far
        beyond ``rank`` are told by their mean square.

        Args:
            noise: the same of dense parts, whose sizes before the sum only the caller knows.
        """
        dtype = _dtype(self)
        left, values, right = self._svd(rank, noise, ROUNDING * torch.finfo(dtype).eps)
        return Delta(self.shape, left.to(dtype), right.to(dtype), bias=self.bias), values

    def reduced(self, rank: int | None = None, energy: float | None = None, noise: float = 0.0) -> tuple[Delta, Tensor]:
        """The best approximation within a rank, or of the smallest rank that keeps a share of Σσ²; and the spectrum.

        Args:
            rank: at most this; None is no bound.
            energy: share of Σσ² to keep, 0 to 1; None keeps what ``rank`` allows.
            noise: as in :meth:`with_spectrum`.
        """
        delta, spectrum = self.with_spectrum(rank or min(self.matrix_shape), noise)
        if energy is None or delta.up is None or delta.down is None:
            return delta, spectrum
        kept = rank_for_energy(spectrum, energy)
        up, down = delta.up[:, :kept].clone(), delta.down[:kept].clone()  # views would keep all of it in memory
        return Delta(self.shape, up, down, bias=self.bias), spectrum

    def _svd(self, rank: int, noise: float, rounding: float) -> tuple[Tensor, Tensor, Tensor]:
        """The first ``rank`` left vectors [o, k], all singular values, the first right vectors [k, i·kh·kw].

        The vectors have the lengths of the roots of their singular values.

        Args:
            noise: singular values up to this are 0.
            rounding: or up to this share of what the norm would be if no column of the factors cancelled another.
        """
        if self.dense_part is not None:
            matrix = self.matrix()
            left, values, right = leading_by_krylov(matrix, rank) or leading_svd(matrix.double(), rank)
            values, root = _cleared(values, noise, rank)
            return left * root, values, root[:, None] * right
        if self.up is None or self.down is None or self.rank == 0:
            o, n = self.matrix_shape
            return torch.zeros(o, 0), torch.zeros(0), torch.zeros(0, n)
        from_up, r_up = orthogonal(self.up)
        from_down, r_down = orthogonal(self.down.T)
        dtype = torch.promote_types(r_up.dtype, r_down.dtype)
        left, values, right = leading_svd(r_up.to(dtype) @ r_down.to(dtype).T, rank)
        size = (column_norms(r_up) * column_norms(r_down)).norm()  # a triangle's columns are as long as the matrix's
        values, root = _cleared(values, max(noise, rounding * size.item()), rank)
        return from_up(left, root), values, from_down(right.T, root).T

    def _core(self) -> Tensor:
        """R_up @ R_downᵀ, which has the singular values of ΔW."""
        if self.up is None or self.down is None or self.rank == 0:
            return torch.zeros(0, 0, dtype=torch.float64)
        r_up: Tensor = torch.linalg.qr(self.up.double(), mode="r").R
        r_down: Tensor = torch.linalg.qr(self.down.double().T, mode="r").R
        return r_up @ r_down.T


def _cleared(values: Tensor, noise: float, rank: int) -> tuple[Tensor, Tensor]:
    """``values``, those up to ``noise`` as 0; and the roots of the first ``rank``."""
    values = torch.where(values > noise, values, 0.0)
    return values, values[:rank].sqrt()


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


def _side_by_side(weighed: Sequence[tuple[Tensor, float]]) -> Tensor:
    """The columns of matrices of one height, each times its weight, in float32 or float64."""
    (first, weight), *others = weighed
    dtype = _wide(matrix for matrix, _ in weighed)
    if not others and first.dtype == dtype:
        return first if weight == 1 else first * weight
    widths = [matrix.shape[1] for matrix, _ in weighed]
    total = first.new_empty(first.shape[0], sum(widths), dtype=dtype)
    for into, (matrix, weight) in zip(torch.split(total, widths, dim=1), weighed, strict=True):
        if matrix.dtype == dtype:
            torch.mul(matrix, weight, out=into)
        else:
            into.copy_(matrix).mul_(weight)
    return total


def _stacked(matrices: Sequence[Tensor]) -> Tensor:
    """The rows of matrices of one width, in float32 or float64."""
    first, *others = matrices
    dtype = _wide(matrices)
    if not others and first.dtype == dtype:
        return first
    heights = [matrix.shape[0] for matrix in matrices]
    total = first.new_empty(sum(heights), first.shape[1], dtype=dtype)
    for into, matrix in zip(torch.split(total, heights), matrices, strict=True):
        into.copy_(matrix)
    return total


def _wide(tensors: Iterable[Tensor]) -> torch.dtype:
    """float64 where one of them is, else float32."""
    return torch.float64 if any(tensor.dtype == torch.float64 for tensor in tensors) else torch.float32


def _total(tensors: Iterable[Tensor | None]) -> Tensor | None:
    """The sum of those that are there."""
    total = None
    for tensor in tensors:
        if tensor is not None:
            total = tensor if total is None else total + tensor
    return total


def _dtype(delta: Delta) -> torch.dtype:
    for tensor in (delta.up, delta.dense_part):
        if tensor is not None:
            return tensor.dtype
    return torch.float32
