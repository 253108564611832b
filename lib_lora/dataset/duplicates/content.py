"""The part of a picture that is not background: what is opaque, and not a flat colour reaching in from the border."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from lib_lora.dataset.images import load_rgba

SIDE = 256  # pixels of the longer side at which the background is looked for
FLAT = 12  # largest difference of a colour channel that still counts as the same colour
UNIFORM_BORDER = 0.6  # share of the border that must have one colour
OPAQUE = 128
NEUTRAL = (128, 128, 128)


def without_background(path: Path) -> Image.Image:
    """RGB, reduced to 256 pixels, cut to its content; the background inside the cut is neutral grey.

    Raises:
        BadFile: the picture is damaged.
    """
    image = ImageOps.contain(load_rgba(path, at_least=2 * SIDE), (SIDE, SIDE), Image.Resampling.HAMMING)
    pixels = np.array(image)
    content = ~_grown(background(pixels))  # pixels at the edge are a mixture with the background
    if not content.any():
        return image.convert("RGB")
    rows, columns = np.flatnonzero(content.any(1)), np.flatnonzero(content.any(0))
    colours = np.where(content[..., None], pixels[..., :3], np.uint8(NEUTRAL))
    return Image.fromarray(colours[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])


def background(pixels: np.ndarray) -> np.ndarray:
    """uint8 [H, W, 4] -> bool [H, W]: transparent, or of the border's colour and connected to the border."""
    clear = pixels[..., 3] < OPAQUE
    colours = pixels[..., :3].astype(np.int16)
    border = np.concatenate([colours[0], colours[-1], colours[:, 0], colours[:, -1]])
    near = (np.abs(border - np.median(border, axis=0)) <= FLAT).all(1)
    if near.mean() < UNIFORM_BORDER:
        return clear
    flat = (np.abs(colours - np.median(border, axis=0)) <= FLAT).all(2) | clear
    return clear | _connected_to_border(flat)


def _connected_to_border(mask: np.ndarray) -> np.ndarray:
    """The part of a mask that can be reached from outside in steps up, down, left and right."""
    reached = np.zeros_like(mask)
    reached[[0, -1]], reached[:, [0, -1]] = mask[[0, -1]], mask[:, [0, -1]]
    count = -1
    while (now := np.count_nonzero(reached)) != count:
        count = now
        reached = _grown(reached) & mask
    return reached


def _grown(mask: np.ndarray) -> np.ndarray:
    """A mask with the neighbours above, below, left and right."""
    grown = mask.copy()
    grown[1:] |= mask[:-1]
    grown[:-1] |= mask[1:]
    grown[:, 1:] |= mask[:, :-1]
    grown[:, :-1] |= mask[:, 1:]
    return grown
