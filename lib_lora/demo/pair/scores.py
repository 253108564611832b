"""Which character stands where, as the judge reads it from the two halves of a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from PIL import Image

from ...dataset.pictures.composites import padded
from ..judge import Judge, Reading
from ..world import Character


def halves(image: Image.Image) -> tuple[Image.Image, Image.Image]:
    """Left and right half, each padded to a square as the judge knows it."""
    middle = image.width // 2
    parts = image.crop((0, 0, middle, image.height)), image.crop((middle, 0, image.width, image.height))
    left, right = (padded(part.convert("RGB"), 1.0) for part in parts)
    return left, right


def who(reading: Reading, characters: Mapping[str, Character]) -> str:
    """The name of the character with this colour of hair and of outfit, "" for anybody else."""
    return next((name for name, c in characters.items() if (reading.hair, reading.outfit) == (c.hair, c.top)), "")


def pair_scores(
    judge: Judge, pictures: Sequence[Image.Image], asked: Sequence[tuple[str, str]], characters: Mapping[str, Character]
) -> dict[str, float]:
    """Shares of pictures or of their halves, 0 to 1, and the number ``n`` of pictures.

    Args:
        asked: who was to stand left and right in each picture.
    """
    readings = judge.read([half for picture in pictures for half in halves(picture)])
    seen = [(who(readings[i], characters), who(readings[i + 1], characters)) for i in range(0, len(readings), 2)]
    pairs = list(zip(seen, asked, strict=True))
    shares = {
        "both, in their places": [found == wanted for found, wanted in pairs],
        "both, places exchanged": [found == wanted[::-1] for found, wanted in pairs],
        "one of both": [len(set(found) - {""}) == 1 and "" in found for found, _ in pairs],
        "one of them twice": [found[0] == found[1] != "" for found, _ in pairs],
        "neither": [found == ("", "") for found, _ in pairs],
    }
    shares["halves with the right one"] = [found[i] == wanted[i] for found, wanted in pairs for i in (0, 1)]
    return {**{name: sum(marks) / len(marks) for name, marks in shares.items()}, "n": len(pairs)}
