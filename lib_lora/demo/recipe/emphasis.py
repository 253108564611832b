"""Which cells of a picture its small attributes decide: they weigh more in the denoiser's loss.

A hair bow covers three or four of 256 cells, and an error spread over the whole picture hardly notices it. A picture
drawn once more with another hat or other clothes says which cells those are.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..world import Spec, render
from .pictures import Pictures
from .progress import save_state
from .sketcher import CELL

HAT = 6.0  # weight of a cell that the hat decides, against 1 elsewhere
CLOTHES = 2.0
VISIBLE = 24  # a cell is decided where a pixel differs by this much of 255


def cell_weights(pictures: dict[str, Pictures], folder: Path) -> dict[str, Tensor]:
    """Weights [n, 1, h, w] for every picture, mean about 1; made once and kept in ``folder``."""
    path = folder / "emphasis.pt"
    if not path.exists():
        save_state(
            path, {kind: torch.stack([_weights(p, i) for i in range(len(p.specs))]) for kind, p in pictures.items()}
        )
    return torch.load(path, weights_only=True)


def _weights(pictures: Pictures, index: int) -> Tensor:
    spec, pixels = pictures.specs[index], pictures.pixels[index]
    weights = np.ones((1, pixels.shape[0] // CELL, pixels.shape[1] // CELL), np.float32)
    for changed, weight in ((_other_clothes(spec), CLOTHES), (_other_hats(spec), HAT)):
        weights[0][_decided(pixels, np.asarray(render(changed)))] = weight
    return torch.from_numpy(weights / weights.mean())


def _decided(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Cells [h, w] in which two pictures differ."""
    differs = np.abs(a.astype(np.int16) - b).max(-1) >= VISIBLE
    h, w = differs.shape
    return differs.reshape(h // CELL, CELL, w // CELL, CELL).any((1, 3))


def _other_hats(spec: Spec) -> Spec:
    """Without hats; who wears none gets the largest, since where a hat is not to be counts as much."""
    return replace(
        spec, characters=tuple(replace(c, hat="witch hat" if c.hat == "none" else "none") for c in spec.characters)
    )


def _other_clothes(spec: Spec) -> Spec:
    return replace(
        spec,
        characters=tuple(
            replace(c, top="white" if c.top != "white" else "black", bottom="white" if c.bottom != "white" else "black")
            for c in spec.characters
        ),
    )
