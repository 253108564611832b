"""Subjects drawn twice, in colour and as black lines: OpenMoji (CC-BY-SA-4.0, package openmoji of npm)."""

from __future__ import annotations

import io
import json
import random
from pathlib import Path

import numpy as np
import resvg_py
from PIL import Image

from tests.dataset.real.sprites import COPIES, Truth

GROUPS = ("animals-nature", "food-drink", "objects")
SIDE = 384
COLOUR = 8  # mean difference of 255 between a drawing and its lines, from which on they are two styles and not one


class Emoji:
    """The unpacked package at ``folder``."""

    def __init__(self, folder: Path):
        self._folder = folder
        entries = json.loads((folder / "data" / "openmoji.json").read_text(encoding="utf-8"))
        self._codes = [entry["hexcode"] for entry in entries if entry["group"] in GROUPS]

    def drawing(self, code: str, style: str) -> Image.Image:
        """RGB on white; ``style`` is ``"color"`` or ``"black"``."""
        file = self._folder / style / "svg" / f"{code}.svg"
        png = resvg_py.svg_to_bytes(svg_path=str(file), width=SIDE, height=SIDE, background="#ffffff")
        return Image.open(io.BytesIO(bytes(png))).convert("RGB")

    def plant(self, folder: Path, seed: int, count: int = 120) -> Truth:
        """Coloured drawings on white; a third with a copy, a third with the same subject as lines, which is none."""
        r, truth, number = random.Random(seed), Truth(), 0
        folder.mkdir()
        for code in r.sample(self._codes, len(self._codes)):
            picture, lines = self.drawing(code, "color"), self.drawing(code, "black")
            if np.abs(np.asarray(picture, np.int16) - np.asarray(lines)).mean() < COLOUR:
                continue
            path, twin = folder / f"{number:03}.png", folder / f"{number:03}-twin.png"
            picture.save(path)
            if number % 3 == 0:
                COPIES[number // 3 % len(COPIES)](picture, twin)
                truth.copies.add(frozenset({path.stem, twin.stem}))
            elif number % 3 == 1:
                lines.save(twin)
            number += 1
            if number == count:
                break
        truth.pictures = len(list(folder.iterdir()))
        return truth
