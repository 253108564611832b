"""Which character stands where, as the judge reads it from the halves or thirds of a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

from PIL import Image

from ...dataset.pictures.composites import padded
from ..judge import Judge, Reading
from ..world import Character


def parts(image: Image.Image, people: int) -> list[Image.Image]:
    """As many as ``people``, left to right, each padded to a square as the judge knows it."""
    edges = [round(image.width * i / people) for i in range(people + 1)]
    crops = [image.crop((left, 0, right, image.height)) for left, right in pairwise(edges)]
    return [padded(crop.convert("RGB"), 1.0) for crop in crops]


def who(reading: Reading, characters: Mapping[str, Character]) -> str:
    """The name of the character with this colour of hair and of outfit, "" for anybody else."""
    return next((name for name, c in characters.items() if (reading.hair, reading.outfit) == (c.hair, c.top)), "")


def standing(
    judge: Judge, pictures: Sequence[Image.Image], characters: Mapping[str, Character], people: int
) -> list[tuple[str, ...]]:
    """Who stands where in each picture, left to right; see :func:`who`."""
    readings = judge.read([part for picture in pictures for part in parts(picture, people)])
    names = [who(reading, characters) for reading in readings]
    return [tuple(names[i : i + people]) for i in range(0, len(names), people)]


def trio_scores(
    judge: Judge, pictures: Sequence[Image.Image], asked: Sequence[tuple[str, ...]], characters: Mapping[str, Character]
) -> dict[str, float]:
    """Shares of pictures or of their thirds, 0 to 1, and the number ``n`` of pictures; as :func:`pair_scores`."""
    found = list(zip(standing(judge, pictures, characters, 3), asked, strict=True))
    right = [sum(name == wanted for name, wanted in zip(*one, strict=True)) for one in found]
    shares = {
        "all three, in their places": [count == 3 for count in right],
        "all three, anywhere": [sorted(seen) == sorted(wanted) for seen, wanted in found],
        "two of them in their places": [count == 2 for count in right],
        "one of them in its place": [count == 1 for count in right],
        "none in its place": [count == 0 for count in right],
    }
    scores = {name: sum(marks) / len(marks) for name, marks in shares.items()}
    return {**scores, "thirds with the right one": sum(right) / (3 * len(found)), "n": len(found)}


def pair_scores(
    judge: Judge, pictures: Sequence[Image.Image], asked: Sequence[tuple[str, str]], characters: Mapping[str, Character]
) -> dict[str, float]:
    """Shares of pictures or of their halves, 0 to 1, and the number ``n`` of pictures.

    Args:
        asked: who was to stand left and right in each picture.
    """
    pairs = list(zip(standing(judge, pictures, characters, 2), asked, strict=True))
    shares = {
        "both, in their places": [found == wanted for found, wanted in pairs],
        "both, places exchanged": [found == wanted[::-1] for found, wanted in pairs],
        "one of both": [len(set(found) - {""}) == 1 and "" in found for found, _ in pairs],
        "one of them twice": [found[0] == found[1] != "" for found, _ in pairs],
        "neither": [found == ("", "") for found, _ in pairs],
    }
    shares["halves with the right one"] = [found[i] == wanted[i] for found, wanted in pairs for i in (0, 1)]
    return {**{name: sum(marks) / len(marks) for name, marks in shares.items()}, "n": len(pairs)}
