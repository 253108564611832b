"""The largest singular values of a whole matrix, with their vectors, at a fraction of a full decomposition's cost.

Randomized block Krylov iteration (Musco and Musco, 2015): the space of G, AᵀA·G, (AᵀA)²·G … of a few random columns G
soon holds the first right vectors, also where the singular values fall slowly, as those of a fine-tuned weight do.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lib_lora.adapters.tall import column_norms

EXTRA = 8  # columns of a block beyond the rank
SETTLED = 1e-8  # of Σσ²: the search ends where one more block adds less to what is kept
WIDEST = 0.5  # of the smaller side: a space as wide as that costs what all vectors cost


def leading_by_krylov(matrix: Tensor, rank: int) -> tuple[Tensor, Tensor, Tensor] | None:
    """The first ``rank`` left vectors [m, k], all singular values, the first right vectors [k, n]; in float64.

    Of the values, those beyond the space that was searched are told by their mean square alone, so that their sum from
    ``rank`` on is right. One matrix has one result: the random columns are always the same.

    Args:
        matrix: of float32 or float64.

    Returns:
        None where the matrix is 0 or too small for the rank, or its values are too even to be told apart soon.
    """
    if matrix.shape[0] < matrix.shape[1]:
        found = leading_by_krylov(matrix.T, rank)
        return None if found is None else (found[2].T, found[1], found[0].T)
    side, width = matrix.shape[1], rank + EXTRA
    if 2 * width > WIDEST * side:  # an end is seen at the second block, at the earliest
        return None
    block = torch.randn(side, width, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    basis, images = block[:, :0], matrix.new_zeros(matrix.shape[0], 0, dtype=torch.float64)
    products = block[:0, :0]  # of the images' columns with each other, the upper triangle
    wide = matrix.double()
    kept, total = -math.inf, float(wide.norm()) ** 2
    while basis.shape[1] + width <= WIDEST * side and 0 < total < math.inf:
        block = _orthonormal(block, basis)
        image = wide @ block
        basis, images = torch.cat([basis, block], dim=1), torch.cat([images, image], dim=1)
        products = torch.nn.functional.pad(products, (0, width, 0, width))
        products[:, -width:] = images.T @ image
        squares, turn = torch.linalg.eigh(products, UPLO="U")
        before, kept = kept, float(squares[-rank:].sum())
        if kept - before <= SETTLED * total:
            first = turn[:, -rank:].flip(1)
            vectors = images @ first
            lengths = column_norms(vectors)
            seen = torch.cat([lengths, squares[:-rank].flip(0).clamp_min(0).sqrt()])
            rest = math.sqrt(max(0.0, total - float(seen.square().sum())) / (side - len(seen)))
            values = torch.cat([seen, seen.new_full((side - len(seen),), rest)])
            return vectors / lengths.clamp_min(torch.finfo(lengths.dtype).tiny), values, (basis @ first).T
        # not in the matrix's own size, whose square float32 may not hold
        block = (matrix.T @ (image / math.sqrt(total)).to(matrix.dtype)).double()
    return None


def _orthonormal(block: Tensor, basis: Tensor) -> Tensor:
    """Unit columns that span with ``basis`` what the two span; twice, for once leaves what rounding hides."""
    for _ in range(2):
        block = torch.linalg.qr(block - basis @ (basis.T @ block)).Q
    return block
