"""Holes of a picture closed from their surroundings."""

from __future__ import annotations

import numpy as np

SWEEPS = 24  # of the smoothing at each resolution


def filled(pixels: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """Harmonic inpainting: inside the hole each pixel becomes the mean of its neighbours (Laplace's equation).

    Solved from coarse to fine: the mean of the known pixels of each 2×2 block, filled in the same way, is the first
    guess, which Jacobi sweeps smooth. Where nothing is known, the result is the input.

    Args:
        pixels: float [H, W, C]. hole: bool [H, W].
    """
    if not hole.any() or hole.all() or min(hole.shape) < 2:
        return pixels
    guess = _enlarged(filled(*_halved(pixels, hole)), hole.shape)
    result = np.where(hole[..., None], guess, pixels)
    rows, columns = np.flatnonzero(hole.any(1)), np.flatnonzero(hole.any(0))
    window = slice(max(0, rows[0] - 1), rows[-1] + 2), slice(max(0, columns[0] - 1), columns[-1] + 2)
    part, inside = result[window], hole[window][..., None]
    for _ in range(SWEEPS):
        part = np.where(inside, _neighbours(part), part)
    result[window] = part
    return result


def _halved(pixels: np.ndarray, hole: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means over the known pixels of each 2×2 block, and the blocks without any."""
    height, width = hole.shape
    odd = (0, height % 2), (0, width % 2)
    known = np.pad((~hole).astype(np.float32), odd)[..., None]
    values = np.pad(pixels, (*odd, (0, 0))) * known
    count, total = _blocks(known), _blocks(values)
    return total / np.maximum(count, 1), count[..., 0] == 0


def _blocks(values: np.ndarray) -> np.ndarray:
    return values[::2, ::2] + values[1::2, ::2] + values[::2, 1::2] + values[1::2, 1::2]


def _enlarged(pixels: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    return pixels.repeat(2, axis=0).repeat(2, axis=1)[: shape[0], : shape[1]]


def _neighbours(pixels: np.ndarray) -> np.ndarray:
    """Mean of the pixels above, below, left and right; the border repeats itself."""
    around = np.pad(pixels, ((1, 1), (1, 1), (0, 0)), mode="edge")
    return (around[:-2, 1:-1] + around[2:, 1:-1] + around[1:-1, :-2] + around[1:-1, 2:]) / 4
