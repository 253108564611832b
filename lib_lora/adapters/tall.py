"""Linear algebra of tall matrices [n, r] with few columns, the factors of a ΔW, and of their small cores [r, r]."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

INDEPENDENT = 1e-4  # the sine of the angle between a column and those before it, from which on Cholesky's way is safe
DEPENDENT = 1e-6  # up to this share of the columns' sizes, what they differ by is rounding noise
WELL_APART = 0.3  # and from which on it is with products of float32
GROWTH = 4.0  # up to this size of what cancels in a unit vector, a float32 product is exact to some 1e-7
SPREAD = 1.02  # times the rank: from this p on (see `_in_single_precision`) 1 % of the energy or more is cut off
SMALLEST = 1e-30  # what can be squared in float32
WELL_ABOVE = 1e-6  # of the largest eigenvalue: above it, an eigenvector of M Mᵀ is as good as a singular vector of M
STRIP = 64  # columns of a Gram matrix computed at once
ROWS = 2048  # widened at once: few enough to stay in the processor's cache


def orthogonal(matrix: Tensor) -> tuple[Callable[[Tensor, Tensor], Tensor], Tensor]:
    """``matrix`` = Q R, as a function of unit columns x and lengths s -> Q (x·s), and the upper triangle R.

    Where the columns are clearly independent, R is the Cholesky factor of the Gram matrix and Q is never formed: one
    product instead of a Householder QR, several times as fast (CholeskyQR; its loss of orthogonality is ε·κ²). Where
    some clearly depend on others, as in a merge with a copy, the roots of the Gram matrix' eigenvalues times its
    eigenvectors stand for R [k, r], with as many rows as the columns have directions. Else QR.
    Of a float32 matrix whose columns are well apart, products and R are float32 too: some 1e-6 from orthogonal, which a
    truncation squares; else they are float64. Q (x·s) has the precision of ``matrix`` where nothing cancels in it.
    """
    found = None
    if matrix.dtype == torch.float32:
        found = _cholesky(gram(matrix, matrix.dtype), WELL_APART)
    if found is None:
        products = gram(matrix)
        found = _cholesky(products, INDEPENDENT)
    if found is None:
        if matrix.dtype == torch.float32 and (spanned := _spanned(products)) is not None:
            back, root = spanned
            return lambda x, lengths: _product(matrix, back @ (x.double() * lengths), torch.float64), root
        q, triangle = torch.linalg.qr(matrix.double())
        return lambda x, lengths: q @ (x * lengths), triangle
    triangle, sizes = found

    def times(x: Tensor, lengths: Tensor) -> Tensor:
        x = torch.linalg.solve_triangular(triangle, x.to(triangle.dtype), upper=True)
        safe = column_norms(sizes[:, None] * x).max() <= GROWTH
        return _product(matrix, x * lengths, matrix.dtype if safe else torch.float64)

    return times, triangle


def _product(matrix: Tensor, x: Tensor, dtype: torch.dtype) -> Tensor:
    """``matrix`` @ ``x`` in a type; in memory by rows or by columns as ``matrix`` is, so that nobody copies it."""
    matrix, x = matrix.to(dtype), x.to(dtype)
    return (x.T @ matrix.T).T if matrix.T.is_contiguous() else matrix @ x


def _cholesky(products: Tensor, least: float) -> tuple[Tensor, Tensor] | None:
    """The triangle of a Gram matrix and the columns' norms; None where a column leans on those before it more than
    ``least``, a sine, allows."""
    sizes = products.diagonal().sqrt()
    triangle, failed = torch.linalg.cholesky_ex(products, upper=True)
    return None if failed or not (triangle.diagonal() > least * sizes).all() else (triangle, sizes)


def _spanned(products: Tensor) -> tuple[Tensor, Tensor] | None:
    """From a Gram matrix, B [r, k] and R [k, r], so that Q = matrix @ B is orthogonal and Q R is the matrix.

    None where it is not clear which directions there are and which are rounding noise.
    """
    sizes = products.diagonal().sqrt().clamp_min(SMALLEST)
    squares, vectors = torch.linalg.eigh(products / sizes / sizes[:, None], UPLO="U")
    there = squares > INDEPENDENT**2
    if not there.any() or (squares[~there] > DEPENDENT**2).any():
        return None
    roots, vectors = squares[there].sqrt(), vectors[:, there]
    return vectors / roots / sizes[:, None], roots[:, None] * vectors.T * sizes


def leading_svd(matrix: Tensor, rank: int) -> tuple[Tensor, Tensor, Tensor]:
    """The first ``rank`` left vectors [m, k], all singular values, the first right vectors [k, n]; in float64.

    Where the values that are kept, and the first that is not, are well above rounding noise, from the eigenvectors of
    M Mᵀ, at two thirds of the cost: its noise, √ε of the largest value, is then far below them. Else by SVD.

    Args:
        matrix: of float64; or of float32, if it is not known any better.
    """
    if matrix.dtype == torch.float32:
        if (found := _in_single_precision(matrix, rank)) is not None:
            return found
        matrix = matrix.double()
    if matrix.shape[0] > matrix.shape[1] >= rank:
        left, values, right = leading_svd(matrix.T, rank)
        return right.T, values, left.T
    if min(matrix.shape) > rank:
        squares, vectors = torch.linalg.eigh(matrix @ matrix.T)
        squares, left = squares.flip(0).clamp_min(0), vectors[:, -rank:].flip(1)
        if squares[rank] > WELL_ABOVE * squares[0]:
            values = squares.sqrt()
            return left, values, left.T @ matrix / values[:rank, None]
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    k = min(rank, values.numel())
    return left[:, :k], values, right[:k]


def _in_single_precision(matrix: Tensor, rank: int) -> tuple[Tensor, Tensor, Tensor] | None:
    """:func:`leading_svd` by eigenvectors in float32; None where too little is cut off for that.

    What is cut off is at least 1 − √(rank/p) of Σσ², where p = (Σσ²)²/Σσ⁴. An error ε of the vectors adds ε² to it. The
    values are the lengths of Mᵀ v, which err by ε² too, and not by ε as the roots of the eigenvalues do.
    """
    if matrix.shape[0] != matrix.shape[1]:
        return None
    products = matrix @ matrix.T
    energy, size = products.diagonal().sum(), products.norm()
    if not (SMALLEST < size < math.inf and energy >= math.sqrt(SPREAD * rank) * size):
        return None
    vectors = torch.linalg.eigh(products)[1]
    images = matrix.T @ vectors
    values, order = column_norms(images).sort(descending=True)
    first = order[:rank]
    return vectors[:, first].double(), values.double(), (images[:, first] / values[:rank]).T.double()


def gram(matrix: Tensor, dtype: torch.dtype = torch.float64) -> Tensor:
    """The upper triangle of ``matrix``ᵀ ``matrix`` in ``dtype``: [n, r] -> [r, r]; what lies below it has no meaning.

    In strips of columns, for there are no symmetric products, and of rows where they have to be widened first.
    """
    width = matrix.shape[1]
    total = torch.zeros(width, width, dtype=dtype)
    for rows in (matrix,) if matrix.dtype == dtype else torch.split(matrix, ROWS):
        rows = rows.to(dtype)
        for begin, strip in zip(range(0, width, STRIP), torch.split(rows, STRIP, dim=1), strict=True):
            total[begin : begin + STRIP, begin:].addmm_(strip.T, rows[:, begin:])
    return total


def column_norms(matrix: Tensor) -> Tensor:
    """As ``matrix.norm(dim=0)``, which takes five times as long: it walks down the columns of what lies in rows."""
    return (matrix * matrix).sum(dim=0).sqrt()


def product_norm(up: Tensor, down: Tensor) -> float:
    """Frobenius norm of ``up`` [o, r] @ ``down`` [r, n] from the two Gram matrices, in the factors' own precision.

    Exact to √ε of ‖up‖·‖down‖: not for differences whose parts cancel.
    """
    return ((up.T @ up).double() * (down @ down.T).double()).sum().clamp_min(0).sqrt().item()
