"""How near generated pictures are to those that a LoRA was trained on: a hint at what it learned, or only copies.

Pictures are compared by colour and composition, on thumbnails without their mean colour. A model copies where its
pictures lie nearer to single training pictures than those lie to each other (after Meehan, Chaudhuri and Dasgupta,
"A Non-Parametric Test to Detect Data-Copying in Generative Models", 2020).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..errors import UserError
from ..files import write_text
from ..small_files import record, tolerated

RECORD = "likeness.json"
SIDE = 16  # pixels of a thumbnail
MOST_PICTURES = 400  # more say nothing new
COPY_FLOOR = 0.9  # below this nothing is called a copy, however different the training pictures are
COPY_SHARE = 0.95  # of the training pictures' own nearest likenesses


class Likeness:
    """The pictures of a training set, to compare others with.

    Args:
        pictures: at least one.

    Attributes:
        limit: likeness from which on a picture counts as a copy.
    """

    def __init__(self, pictures: Sequence[Image.Image]):
        self._features = np.stack([_features(picture) for picture in pictures])
        among = self._features @ self._features.T
        np.fill_diagonal(among, -1.0)
        nearest = among.max(axis=1) if len(pictures) > 1 else np.zeros(1)
        self.limit = max(COPY_FLOOR, float(np.quantile(nearest, COPY_SHARE)))

    @classmethod
    def to_files(cls, files: Sequence[Path]) -> Likeness:
        """Of picture files, evenly chosen where there are very many; what cannot be read is left out.

        Raises:
            UserError: none can be read.
        """
        step = -(-len(files) // MOST_PICTURES) or 1
        pictures = []
        for file in files[::step]:
            try:
                with Image.open(file) as image:
                    pictures.append(_thumbnail(image))
            except OSError:
                continue
        if not pictures:
            raise UserError("The training pictures cannot be read", fix="Put them back to where they were.")
        return cls(pictures)

    def of(self, picture: Image.Image) -> float:
        """Cosine likeness to the nearest training picture, -1 to 1."""
        return float((self._features @ _features(picture)).max())


@dataclass(frozen=True)
class FileLikeness:
    """What a grid's pictures say of one file: their mean likeness, and the share of them that are copies."""

    mean: float
    copies: float


def write_likeness(folder: Path, found: Mapping[str, Sequence[float]], likeness: Likeness | None) -> None:
    """Keep what was found beside a grid: heading of a file -> likeness of each of its pictures; nothing where None."""
    if likeness is None:
        (folder / RECORD).unlink(missing_ok=True)
        return
    rows: dict[str, Any] = {
        label: {"mean": sum(values) / len(values), "copies": sum(v > likeness.limit for v in values) / len(values)}
        for label, values in found.items()
    }
    write_text(folder / RECORD, json.dumps(rows, indent=1, ensure_ascii=False))


def read_likeness(folder: Path) -> dict[str, FileLikeness]:
    """What :func:`write_likeness` kept; empty where there is nothing."""
    return tolerated(
        folder / RECORD, lambda rows: {label: record(FileLikeness, row) for label, row in rows.items()}, {}
    )


def _features(picture: Image.Image) -> np.ndarray:
    """[3·SIDE²] of length 1, or zeros for a picture of one colour."""
    pixels = np.asarray(_thumbnail(picture), dtype=np.float32)
    flat = (pixels - pixels.mean(axis=(0, 1))).ravel()
    length = float(np.linalg.norm(flat))
    return flat / length if length > 1e-6 else np.zeros_like(flat)


def _thumbnail(picture: Image.Image) -> Image.Image:
    return picture.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BOX)
