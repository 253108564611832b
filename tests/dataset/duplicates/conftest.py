"""Pictures on disk with planted copies, mirrored copies and variants."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from PIL import Image, ImageOps

from lib_lora.dataset.collection.headers import Headers
from lib_lora.dataset.collection.opening import open_folders
from lib_lora.dataset.collection.picture import Picture
from lib_lora.demo.world import Spec, random_spec, render

SIZE = (192, 256)


def jpeg85(image: Image.Image, path: Path) -> None:
    image.save(path.with_suffix(".jpg"), quality=85)


def half(image: Image.Image, path: Path) -> None:
    image.resize((96, 128), Image.Resampling.LANCZOS).save(path)


def larger(image: Image.Image, path: Path) -> None:
    image.resize((288, 384), Image.Resampling.BICUBIC).save(path)


def mirrored(image: Image.Image, path: Path) -> None:
    ImageOps.mirror(image).save(path.with_suffix(".jpg"), quality=90)


COPIES = (jpeg85, half, larger, mirrored)
MOUTHS = {"smile": "open mouth", "open mouth": "frown", "frown": "open mouth"}


def other_expression(spec: Spec) -> Spec:
    face = spec.characters[0]
    return replace(spec, characters=(replace(face, mouth=MOUTHS[face.mouth]),))


@dataclass
class Planted:
    pictures: tuple[Picture, ...] = ()
    copies: set[frozenset[str]] = field(default_factory=set)
    variants: set[frozenset[str]] = field(default_factory=set)


def plant(folder: Path, count: int, seed: int) -> Planted:
    """``count`` different pictures; half of them with one copy, a quarter with a variant, the rest alone."""
    r = random.Random(seed)
    planted = Planted()
    for number in range(count):
        view = r.choice(("close-up", "upper body"))
        spec = replace(random_spec(r, 1), size=SIZE, angle="front", view=view)
        picture = render(spec)
        path = folder / f"{number:04}.png"
        picture.save(path)
        twin = folder / f"{number:04}-twin.png"
        if number % 4 < 2:
            COPIES[number // 4 % len(COPIES)](picture, twin)
            planted.copies.add(frozenset({path.stem, twin.stem}))
        elif number % 4 == 2:
            render(other_expression(spec)).save(twin)
            planted.variants.add(frozenset({path.stem, twin.stem}))
    planted.pictures = read_pictures(folder)
    return planted


def read_pictures(folder: Path) -> tuple[Picture, ...]:
    return open_folders([folder], Headers(folder / ".headers.json")).pictures


@pytest.fixture(scope="session")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    return plant(tmp_path_factory.mktemp("planted"), 64, seed=11)  # the limits were chosen on seed 3


@pytest.fixture
def pictures_in() -> Callable[[Path], tuple[Picture, ...]]:
    return read_pictures
