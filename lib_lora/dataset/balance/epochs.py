"""Repeats and epochs that the character guide gives for a number of images, by base model."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

# One concept: images -> (repeats, epochs, batch size)
NAI_BY_IMAGES = {20: (10, 10, 2), 100: (3, 10, 2), 400: (1, 10, 2), 1000: (1, 10, 3)}
XL_BY_IMAGES = {20: (2, 10, 2), 40: (2, 7, 2), 60: (2, 5, 2), 100: (2, 4, 2), 200: (2, 3, 2), 600: (2, 2, 2)}
BY_IMAGES: Mapping[str, Mapping[int, tuple[int, int, int]]] = {
    "NAI 1.5": NAI_BY_IMAGES,
    "PDXL": XL_BY_IMAGES,
    "Illustrious": XL_BY_IMAGES,
}
# Several concepts: samples per epoch (Σ images × repeats) -> epochs
BY_SAMPLES: Mapping[str, Mapping[int, int]] = {
    "NAI 1.5": {200: 17, 300: 12, 400: 10},
    "Illustrious": {100: 8, 200: 7, 300: 5, 600: 5},
}
CONCEPTS_BATCH = 2


@dataclass(frozen=True)
class Advice:
    """``row`` is the line of the guide's table that is nearest; ``steps`` are those of the actual images."""

    row: int
    repeats: int
    epochs: int
    batch_size: int
    steps: int


def for_images(model: str, images: int) -> Advice:
    """One concept. ``model``: "NAI 1.5", "PDXL" or "Illustrious"; the nearest row by ratio counts."""
    table = BY_IMAGES[model]
    row = _nearest(table, images)
    repeats, epochs, batch = table[row]
    return Advice(row, repeats, epochs, batch, images * repeats * epochs // batch)


def for_samples(model: str, samples: int) -> Advice:
    """Several concepts whose repeats have been evened out. ``model``: "NAI 1.5" or "Illustrious"."""
    table = BY_SAMPLES[model]
    row = _nearest(table, samples)
    return Advice(row, 1, table[row], CONCEPTS_BATCH, samples * table[row] // CONCEPTS_BATCH)


def _nearest(table: Mapping[int, object], value: int) -> int:
    return min(table, key=lambda row: abs(math.log(row / max(1, value))))
