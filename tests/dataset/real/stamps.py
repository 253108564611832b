"""Pictures with known truth from Tux Paint's stamps (GPL-2, Debian's package tuxpaint-stamps-default)."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from tests.dataset.real.sprites import COPIES, SIZE, Truth

KINDS = ("animals", "food", "plants", "seasonal", "vehicles")


class Stamps:
    """The unpacked package at ``folder``: drawings and photographs with transparency."""

    def __init__(self, folder: Path):
        stamps = folder / "usr/share/tuxpaint/stamps"
        self._files = [path for kind in KINDS for path in sorted((stamps / kind).rglob("*.png"))]

    def plant(self, folder: Path, seed: int, count: int = 120) -> Truth:
        """Different stamps before slopes of colour; a third with a copy, a third with a part redrawn."""
        r, truth = random.Random(seed), Truth()
        folder.mkdir()
        for number, file in enumerate(r.sample(self._files, count)):
            stamp = Image.open(file).convert("RGBA")
            picture = _before_a_slope(stamp, r)
            path, twin = folder / f"{number:03}.png", folder / f"{number:03}-twin.png"
            picture.save(path)
            if number % 3 == 0:
                COPIES[number // 3 % len(COPIES)](picture, twin)
                truth.copies.add(frozenset({path.stem, twin.stem}))
            elif number % 3 == 1:
                _redrawn(picture, r).save(twin)
                truth.variants.add(frozenset({path.stem, twin.stem}))
        truth.pictures = len(list(folder.iterdir()))
        return truth


def _before_a_slope(stamp: Image.Image, r: random.Random) -> Image.Image:
    corners = np.array([[[r.randrange(256) for _ in range(3)] for _ in range(2)] for _ in range(2)], np.uint8)
    picture = Image.fromarray(corners).resize(SIZE, Image.Resampling.BILINEAR).convert("RGBA")
    scale = r.uniform(0.75, 1.0) * min(SIZE[0] / stamp.width, SIZE[1] / stamp.height)
    stamp = stamp.resize((max(1, round(stamp.width * scale)), max(1, round(stamp.height * scale))))
    picture.alpha_composite(stamp, (r.randint(0, SIZE[0] - stamp.width), r.randint(0, SIZE[1] - stamp.height)))
    return picture.convert("RGB")


def _redrawn(picture: Image.Image, r: random.Random) -> Image.Image:
    """An opening of the size of a mouth, 6 to 10 % of the width, with a dark rim and a red inside."""
    changed = picture.copy()
    width = SIZE[0] * r.uniform(0.06, 0.1)
    left, top = SIZE[0] * r.uniform(0.3, 0.6), SIZE[1] * r.uniform(0.3, 0.6)
    box = (left, top, left + width, top + 0.7 * width)
    ImageDraw.Draw(changed).ellipse(box, fill=(170, 50, 60), outline=(40, 20, 30), width=2)
    return changed
