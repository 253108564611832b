"""Parts of pictures: to a ratio, around a face, and the figures of a sheet with several views."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lib_lora.dataset.buckets import Size
from lib_lora.dataset.collection.change import Change, Operation
from lib_lora.dataset.collection.picture import Picture
from lib_lora.dataset.duplicates.content import background
from lib_lora.dataset.images import load_rgba
from lib_lora.dataset.pictures.making import operations
from lib_lora.errors import UserError

Box = tuple[int, int, int, int]  # left, top, right, bottom in pixels as seen
SHORTEST = 16  # pixels of the side of a part
FIGURE = 0.05  # width of a figure ÷ width of the sheet, at least


def box_of_ratio(size: Size, ratio: float, centre: tuple[float, float] = (0.5, 0.5)) -> Box:
    """The largest box of this width ÷ height, with its centre as near as possible to ``centre`` (0 to 1 each)."""
    width = min(size[0], round(size[1] * ratio))
    height = min(size[1], round(size[0] / ratio))
    left = round(min(max(centre[0] * size[0] - width / 2, 0), size[0] - width))
    top = round(min(max(centre[1] * size[1] - height / 2, 0), size[1] - height))
    return left, top, left + width, top + height


def box_around(face: Box, size: Size, ratio: float = 1.0, share: float = 0.45) -> Box:
    """A box of this ratio in which the face takes ``share`` of the height, moved and shrunk to fit the picture."""
    height = min((face[3] - face[1]) / share, size[1], size[0] / ratio)
    width = height * ratio
    left = min(max((face[0] + face[2] - width) / 2, 0), size[0] - width)
    top = min(max((face[1] + face[3] - height) / 2, 0), size[1] - height)
    return round(left), round(top), round(left + width), round(top + height)


def figures(path: Path) -> list[Box]:
    """Boxes of the figures on a sheet with a flat background, left to right: parted where whole columns are empty.

    Raises:
        BadFile: the picture is damaged.
    """
    content = ~background(np.array(load_rgba(path)))
    filled = np.concatenate([[False], content.any(0), [False]]).astype(np.int8)
    starts, ends = np.flatnonzero(np.diff(filled) > 0), np.flatnonzero(np.diff(filled) < 0)
    least = FIGURE * content.shape[1]
    boxes = []
    for left, right in zip(starts.tolist(), ends.tolist(), strict=True):
        rows = np.flatnonzero(content[:, left:right].any(1))
        if right - left >= least:
            boxes.append((left, int(rows[0]), right, int(rows[-1]) + 1))
    return boxes


def plan_crops(parts: Sequence[tuple[Picture, Box]]) -> Change:
    """Save parts as new pictures beside the originals, with their captions and the same part of their masks.

    Raises:
        UserError: a box is outside the picture or too small.
    """
    made: list[Operation] = []
    numbers: dict[Path, int] = {}
    for picture, box in parts:
        _check(picture, box)
        numbers[picture.path] = numbers.get(picture.path, 0) + 1
        ending = f"_part{numbers[picture.path]}"
        made += operations(picture, ending, lambda image, box=box: image.crop(box), picture.text)
    return Change("Crop", tuple(made), {"pictures made": len(parts)})


def _check(picture: Picture, box: Box) -> None:
    left, top, right, bottom = box
    inside = left >= 0 and top >= 0 and right <= picture.size[0] and bottom <= picture.size[1]
    if not inside or min(right - left, bottom - top) < SHORTEST:
        fix = f"Choose a part inside the picture, {SHORTEST} pixels or more on each side"
        raise UserError(f"The part {box} cannot be cut out", where=picture.path, fix=fix)
