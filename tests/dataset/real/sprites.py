"""Pictures with known truth from the sprites and backgrounds of two Ren'Py games (Expat licence, Debian's packages)."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image, ImageOps

SIZE = (384, 576)
# Same drawing, other expression: (files of one pose and outfit, the first is the base)
POSES = (
    ("sylvie green normal", "sylvie green smile", "sylvie green giggle", "sylvie green surprised"),
    ("sylvie blue normal", "sylvie blue smile", "sylvie blue giggle", "sylvie blue surprised"),
    ("eileen happy", "eileen vhappy", "eileen concerned"),
    ("lucy happy",),  # her other picture has another pose
)
BACKGROUNDS = ("bg lecturehall", "bg club", "bg uni", "bg meadow", "bg washington", "bg whitehouse", "bg cave")
VIEWS = {"face": 0.3, "upper": 0.55, "full": 1.0}  # part of the figure's height that is shown


def jpeg(image: Image.Image, path: Path) -> None:
    image.save(path.with_suffix(".jpg"), quality=80)


def half(image: Image.Image, path: Path) -> None:
    image.resize((image.width // 2, image.height // 2), Image.Resampling.LANCZOS).save(path)


def larger(image: Image.Image, path: Path) -> None:
    image.resize((image.width * 3 // 2, image.height * 3 // 2), Image.Resampling.BICUBIC).save(path)


def mirrored(image: Image.Image, path: Path) -> None:
    ImageOps.mirror(image).save(path.with_suffix(".jpg"), quality=90)


COPIES = (jpeg, half, larger, mirrored)


@dataclass
class Truth:
    """Pairs of names, without ending."""

    pictures: int = 0
    copies: set[frozenset[str]] = field(default_factory=set)
    variants: set[frozenset[str]] = field(default_factory=set)


class Sprites:
    """The unpacked games below ``folder``."""

    def __init__(self, folder: Path):
        self._files = {path.stem: path for path in sorted(folder.rglob("*/game/images/*"))}

    def sprite(self, name: str) -> Image.Image:
        """RGBA, as large as the game has it."""
        return Image.open(self._files[name]).convert("RGBA")

    def scene(self, name: str, view: str, background: Image.Image, shift: float) -> Image.Image:
        """A figure before a background, ``shift`` (-1 to 1) to the side of the middle."""
        whole = self.sprite(name)
        left, top, right, bottom = self.sprite(name).getbbox()
        figure = whole.crop((left, top, right, round(top + (bottom - top) * VIEWS[view])))
        scale = min(0.9 * SIZE[1] / figure.height, 0.9 * SIZE[0] / figure.width)
        figure = figure.resize((round(figure.width * scale), round(figure.height * scale)), Image.Resampling.LANCZOS)
        picture = background.copy()
        room = SIZE[0] - figure.width
        picture.alpha_composite(figure, (round(room / 2 * (1 + shift)), SIZE[1] - figure.height))
        return picture.convert("RGB")

    def background(self, name: str, r: random.Random) -> Image.Image:
        """A part of a background, RGBA in ``SIZE``."""
        whole = Image.open(self._files[name]).convert("RGBA")
        side = r.uniform(0.7, 1.0)
        height = round(whole.height * side)
        width = round(height * SIZE[0] / SIZE[1])
        left, top = r.randint(0, whole.width - width), r.randint(0, whole.height - height)
        return whole.crop((left, top, left + width, top + height)).resize(SIZE)

    def plant(self, folder: Path, seed: int) -> Truth:
        """Each pose in each view before each background; a third with a copy, a third with another expression."""
        r, truth, number = random.Random(seed), Truth(), 0
        folder.mkdir()
        for pose in POSES:
            for view in VIEWS:
                for name in BACKGROUNDS:
                    background, shift = self.background(name, r), r.uniform(-0.8, 0.8)
                    picture = self.scene(pose[0], view, background, shift)
                    path, twin = folder / f"{number:03}.png", folder / f"{number:03}-twin.png"
                    picture.save(path)
                    if number % 3 == 0:
                        COPIES[number // 3 % len(COPIES)](picture, twin)
                        truth.copies.add(frozenset({path.stem, twin.stem}))
                    elif number % 3 == 1 and pose[1:]:
                        self.scene(r.choice(pose[1:]), view, background, shift).save(twin)
                        truth.variants.add(frozenset({path.stem, twin.stem}))
                    number += 1
        truth.pictures = len(list(folder.iterdir()))
        return truth
