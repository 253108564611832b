"""Linear algebra of tall matrices [n, r] with few columns, which is what the factors of a ΔW are."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

INDEPENDENT = 1e-3  # the sine of the angle between a column and those before it, from which on Cholesky's way is safe


def orthogonal(matrix: Tensor) -> tuple[Callable[[Tensor], Tensor], Tensor]:
    """``matrix`` = Q R, as a function x -> Q x and the upper triangle R; float64.

    Where the columns are clearly independent, R is the Cholesky factor of the Gram matrix and Q is never formed: one
    product instead of a Householder QR, several times as fast (CholeskyQR; its loss of orthogonality is ε·κ²). Else QR.
    """
    triangle, failed = torch.linalg.cholesky_ex(matrix.T @ matrix, upper=True)
    if not failed and (triangle.diagonal() > INDEPENDENT * matrix.norm(dim=0)).all():
        return lambda x: matrix @ torch.linalg.solve_triangular(triangle, x, upper=True), triangle
    q, triangle = torch.linalg.qr(matrix)
    return lambda x: q @ x, triangle


def product_norm(up: Tensor, down: Tensor) -> float:
    """Frobenius norm of ``up`` [o, r] @ ``down`` [r, n] from the two Gram matrices, in float64.

    Exact to √ε of ‖up‖·‖down‖: not for differences whose parts cancel.
    """
    up, down = up.double(), down.double()
    return ((up.T @ up) * (down @ down.T)).sum().clamp_min(0).sqrt().item()
