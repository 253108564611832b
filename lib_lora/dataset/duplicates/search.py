"""Which pictures look alike: all pairs, with cheap lower bounds first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from lib_lora.dataset.duplicates.signatures import BLOCKS, DETAIL, ORIENTATIONS, Array, Signatures, turned

CELLS = BLOCKS * BLOCKS
POOLED = 3  # a side of the grid that gives the lower bound
SAME_ASPECT = 0.03  # of the logarithm
ROWS = 256  # pictures compared with all others at once
CANDIDATES = 20_000  # pairs looked at in all orientations at once
PAIRS = 512  # pairs compared cell by cell at once
EVEN = 0.5  # colour levels: a mean difference this small is as good as none


@dataclass(frozen=True)
class SearchOptions:
    """When two pictures match.

    Args:
        hardness: least likeness in percent, 1 to 100.
        hash_limit: a pair whose hashes differ in no more bits also matches, if its likeness is ``loose`` or more;
            -1 leaves the second opinion out.
        loose: see ``hash_limit``.
        mirrored: also match mirror images.
        rotated: also match pictures that are turned by a quarter or by half.
        scaled: also match pictures of other sizes, when their aspect ratio is the same.
        ignore_background: transparency and flat borders do not count.
        variant_from: from this `variation` on, a pair are variants; below it, copies.
    """

    hardness: float = 95.0
    hash_limit: int = 8
    loose: float = 80.0
    mirrored: bool = True
    rotated: bool = True
    scaled: bool = True
    ignore_background: bool = False
    variant_from: float = 20.0


@dataclass(frozen=True)
class Pair:
    """Two pictures that match, by row. ``likeness`` in percent; ``hash_distance`` in bits of 64.

    The second is the first, ``mirrored`` or not, and then ``turned`` to the left by degrees.
    """

    first: int
    second: int
    likeness: float
    hash_distance: int
    mirrored: bool
    variant: bool
    turned: int = 0


def matching_pairs(found: Signatures, options: SearchOptions, sizes: Array) -> Iterator[list[Pair]]:
    """Pairs that match, one list for every 256 pictures.

    Args:
        sizes: int [N, 2], (width, height) of the pictures.
    """
    bounds = _Bounds(found)
    wanted = [
        number
        for number, (mirrored, quarters) in enumerate(ORIENTATIONS)
        if (options.mirrored or not mirrored) and (options.rotated or not quarters)
    ]
    for start in range(0, len(found.rows), ROWS):
        best: dict[tuple[int, int], Pair] = {}
        first, second = bounds.alike_somehow(start, options)
        for part in range(0, len(first), CANDIDATES):
            a, b = first[part : part + CANDIDATES], second[part : part + CANDIDATES]
            for number in wanted:
                for pair in _measured(found, bounds, a, b, number, options, sizes):
                    key = (pair.first, pair.second)
                    if key not in best or best[key].likeness < pair.likeness:
                        best[key] = pair
        yield list(best.values())


def likeness(blocks: Array, others: Array) -> Array:
    """100 minus the mean over the cells of |ΔR| + |ΔG| + |ΔB|; uint8 [M, 15, 15, 3] twice -> float [M]."""
    difference = np.abs(blocks.astype(np.int16) - others)
    return 100 - difference.sum((1, 2, 3), dtype=np.int64) / CELLS


def variation(details: Array, others: Array) -> Array:
    """How much of the difference is in one place that is drawn otherwise. uint8 [M, 64, 64, 3] twice -> float [M].

    The largest difference ÷ the mean one, after smoothing over 3×3 cells, where errors of compression and scaling
    cancel: these are spread over the picture, another expression is not. Equal pictures give 0. Measured on paper dolls
    and on drawings of two Ren'Py games: copies up to 14, other expressions from 32 on.
    """
    difference = details.astype(np.float32) - others
    smooth = np.abs(_over_neighbours(np.add, difference) / 9).sum(3).reshape(len(details), DETAIL * DETAIL)
    return smooth.max(1) / (smooth.mean(1) + EVEN)


def _over_neighbours(combine: np.ufunc, grids: Array) -> Array:
    """[M, H, W, 3] combined over each cell and its eight neighbours; the border repeats itself."""
    padded = np.pad(grids, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
    rows = combine(combine(padded[:, :-2], padded[:, 1:-1]), padded[:, 2:])
    return combine(combine(rows[:, :, :-2], rows[:, :, 1:-1]), rows[:, :, 2:])


class _Bounds:
    """Lower bounds of all differences.

    The sum of the colours of a region differs by no more than the sum of the differences of its cells, so a coarse grid
    of sums can only underestimate (triangle inequality).
    """

    def __init__(self, found: Signatures):
        step = BLOCKS // POOLED
        grid = found.blocks.reshape(-1, POOLED, step, POOLED, step, 3).sum((2, 4), dtype=np.int32).astype(np.float32)
        self.sums = np.stack(
            [turned(grid, *o).reshape(len(grid), POOLED * POOLED * 3) for o in ORIENTATIONS]
        )  # [8, N, 27]
        corners, edges = grid[:, ::2, ::2].sum((1, 2)), grid[:, 1, ::2].sum(1) + grid[:, ::2, 1].sum(1)
        self.fixed = np.ascontiguousarray(
            np.concatenate([corners, edges, grid[:, 1, 1]], 1).T
        )  # [9, N], however turned

    def alike_somehow(self, start: int, options: SearchOptions) -> tuple[Array, Array]:
        """(first, second) of pairs that may match in some orientation, for 256 rows from ``start``; first < second."""
        rows, others = slice(start, start + ROWS), slice(start, None)
        shape = self.fixed[0, rows].size, self.fixed[0, others].size
        room = np.full(shape, (100 - min(options.loose, options.hardness)) * CELLS, np.float32)
        for own, theirs in zip(self.fixed[:, rows], self.fixed[:, others], strict=True):
            room -= np.abs(own[:, None] - theirs)
        first, second = np.nonzero(np.triu(room >= 0, k=1))
        return first + start, second + start

    def may_match(self, first: Array, second: Array, orientation: int, limit: Array) -> Array:
        """bool [M]: whether the sums leave it open that these pairs match."""
        difference = np.abs(self.sums[orientation, first] - self.sums[0, second]).sum(1)
        return difference <= (100 - limit) * CELLS


def _comparable(found: Signatures, sizes: Array, first: Array, second: Array, quarters: int, scaled: bool) -> Array:
    """bool [M]: whether the shapes fit, the first one turned."""
    across = quarters % 2 == 1
    if scaled:
        aspects = 1 / found.aspects[first] if across else found.aspects[first]
        return np.abs(np.log(aspects / found.aspects[second])) <= SAME_ASPECT
    return ((sizes[first][:, ::-1] if across else sizes[first]) == sizes[second]).all(1)


def _measured(
    found: Signatures, bounds: _Bounds, first: Array, second: Array, orientation: int, options: SearchOptions,
    sizes: Array,
) -> Iterator[Pair]:  # fmt: skip
    mirrored, quarters = ORIENTATIONS[orientation]
    fits = _comparable(found, sizes, first, second, quarters, options.scaled)
    first, second = first[fits], second[fits]
    agreement = np.einsum("ij,ij->i", found.hashes[orientation, first], found.hashes[0, second])
    bits = ((found.hashes.shape[2] - agreement) / 2).astype(np.int16)
    limit = np.where(bits <= options.hash_limit, min(options.loose, options.hardness), options.hardness)
    open_ = bounds.may_match(first, second, orientation, limit)
    first, second, bits, limit = first[open_], second[open_], bits[open_], limit[open_]
    for start in range(0, len(first), PAIRS):
        a, b, distance, least = (part[start : start + PAIRS] for part in (first, second, bits, limit))
        percent = likeness(turned(found.blocks[a], mirrored, quarters), found.blocks[b])
        match = percent >= least
        a, b, percent, distance = a[match], b[match], percent[match], distance[match]
        local = variation(turned(found.details[a], mirrored, quarters), found.details[b])
        for row in range(len(a)):
            ids = int(found.rows[a[row]]), int(found.rows[b[row]])
            variant = bool(local[row] >= options.variant_from)
            yield Pair(*ids, float(percent[row]), int(distance[row]), mirrored, variant, 90 * quarters)
