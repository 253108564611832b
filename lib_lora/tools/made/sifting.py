"""What need not be looked at among drawn pictures: failures, and pictures that are there already."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from lib_lora.dataset.collection.headers import Headers
from lib_lora.dataset.collection.opening import open_folders
from lib_lora.dataset.duplicates.groups import find_duplicates
from lib_lora.small_files import mapping, text, tolerated, write_json
from lib_lora.small_files import set_aside as set_aside_damaged
from lib_lora.tools.pictures import DAMAGE, read_png

ASIDE = "aside.json"
FLAT = 3.0  # standard deviation of the colour levels: below it nothing is to be seen
DARK = 8


def failure(image: Image.Image) -> str:
    """Why nothing is to be seen in a picture, such as one that a model's NaN made black; "" where something is."""
    levels = np.asarray(image.convert("RGB"), np.float32)
    if levels.std(axis=(0, 1)).max() >= FLAT:
        return ""
    return "black" if levels.mean() < DARK else "all of one colour"


def sift(folder: Path, cache: Path, beside: Sequence[Path] = ()) -> Iterator[tuple[int, int]]:
    """Note in ``folder`` which of its pictures are set aside, and why; yields (done, total).

    Args:
        cache: of headers and signatures, :attr:`lib_lora.places.Places.dataset`.
        beside: folders of a set; what is in there already is set aside too.
    """
    pictures = open_folders([folder, *beside], Headers(cache / "headers.json")).pictures
    found = yield from find_duplicates(pictures, cache=cache)
    alike: dict[int, list[int]] = defaultdict(list)
    for pair in found.pairs:
        if not pair.variant:
            alike[pair.first].append(pair.second)
            alike[pair.second].append(pair.first)
    own = [row for row, picture in enumerate(pictures) if picture.path.parent == folder]
    there = set(range(len(pictures))) - set(own)
    aside: dict[str, str] = {}
    for row in own:
        path = pictures[row].path
        if why := _failed(path):
            aside[path.stem] = why
        elif same := sorted(there.intersection(alike[row])):
            aside[path.stem] = f"nearly the same as {pictures[same[0]].path.name}"
        else:
            there.add(row)
    set_aside_damaged(folder / ASIDE, _reasons)
    write_json(folder / ASIDE, aside)


def set_aside(folder: Path) -> Mapping[str, str]:
    """Name of a picture in ``folder``, without its ending -> why it is set aside."""
    return tolerated(folder / ASIDE, _reasons, {})


def _reasons(content: Any) -> dict[str, str]:
    return {name: text(why) for name, why in mapping(content).items()}


def _failed(path: Path) -> str:
    try:
        return failure(read_png(path))
    except DAMAGE:
        return "damaged"
