"""Pictures of different subjects joined side by side, so that one model learns to draw them together ("1to2")."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path

import numpy as np
from PIL import Image

from lib_lora.dataset.collection.change import Change, Example, Make, Operation, Write
from lib_lora.dataset.collection.picture import Picture
from lib_lora.dataset.images import load_rgb
from lib_lora.dataset.pictures.composite_captions import PLACES, caption
from lib_lora.dataset.pictures.making import save
from lib_lora.errors import UserError

FLAT = 12  # colour levels: an edge that varies less is extended by its colour, another by its mirror image
TRIES = 50  # draws for a combination that has not been used yet


@dataclass(frozen=True)
class CompositeOptions:
    """How subjects are joined.

    Args:
        people: 2 or 3 subjects a picture.
        share: part of the whole set that are composites, 0 to 1.
        ratio: width ÷ height that the result is padded to; 0 leaves the sum of the widths.
        template: of the captions; see `composite_captions.caption`.
        seed: the same seed gives the same pictures.
    """

    people: int = 2
    share: float = 0.25
    ratio: float = 0.0
    template: str = ""
    seed: int = 0


def count_for_share(singles: int, share: float) -> int:
    """How many composites make up ``share`` of a set with this many single pictures."""
    if not 0 <= share < 1:
        raise UserError(f"{share:g} cannot be a part of the set", where="share", fix="Use 0 or more, and less than 1")
    return round(singles * share / (1 - share))


def draw(subjects: Mapping[str, Sequence[Picture]], options: CompositeOptions) -> list[tuple[tuple[str, Picture], ...]]:
    """Which pictures are joined, left to right: (subject, picture) each.

    All orders of the subjects take turns, so each stands left as often as right. No combination comes twice; when
    there are too few of them, fewer are returned.

    Raises:
        UserError: fewer subjects with pictures than people.
    """
    filled = {name: list(pictures) for name, pictures in subjects.items() if pictures}
    if options.people not in PLACES or len(filled) < options.people:
        what = f"{options.people} subjects cannot be joined: {len(filled)} have pictures"
        raise UserError(what, where="people", fix="Open a folder for each subject, and join two or three")
    rng = random.Random(options.seed)
    wanted = count_for_share(sum(map(len, filled.values())), options.share)
    drawn: dict[tuple[Path, ...], tuple[tuple[str, Picture], ...]] = {}
    orders: list[tuple[str, ...]] = []
    misses = 0
    while len(drawn) < wanted and misses < TRIES:
        if not orders:
            orders = list(permutations(filled, options.people))
            rng.shuffle(orders)
        found = tuple((name, rng.choice(filled[name])) for name in orders.pop())
        key = tuple(picture.path for _, picture in found)
        misses = misses + 1 if key in drawn else 0
        drawn.setdefault(key, found)
    return list(drawn.values())


def plan_composites(
    subjects: Mapping[str, Sequence[Picture]], folder: Path, options: CompositeOptions | None = None
) -> Change:
    """Make composites with captions in ``folder``.

    Args:
        subjects: activation tag -> pictures of that subject.

    Raises:
        UserError: see `draw` and `count_for_share`.
    """
    options = options or CompositeOptions()
    drawn = draw(subjects, options)
    made: list[Operation] = []
    examples: list[Example] = []
    for number, parts in enumerate(drawn, start=1):
        path = folder / f"composite-{number:05}.png"
        text = caption(parts, options.template)
        made += [Make(path, _writer(parts, options.ratio)), Write(path.with_suffix(".txt"), text.encode())]
        if number <= 3:
            examples.append(Example(path, " + ".join(picture.path.name for _, picture in parts), text))
    return Change("Composites", tuple(made), {"pictures made": len(drawn)}, tuple(examples))


def joined(images: Sequence[Image.Image], ratio: float = 0.0) -> Image.Image:
    """Side by side at the height of the lowest, aspect ratios kept, then padded to ``ratio`` (width ÷ height)."""
    height = min(image.height for image in images)
    scaled = [image.resize((max(1, round(image.width * height / image.height)), height)) for image in images]
    canvas = Image.new("RGB", (sum(image.width for image in scaled), height))
    left = 0
    for image in scaled:
        canvas.paste(image, (left, 0))
        left += image.width
    return padded(canvas, ratio) if ratio else canvas


def padded(image: Image.Image, ratio: float) -> Image.Image:
    """Extend a picture to ``ratio``: flat edges by their colour, others by their mirror image."""
    pixels = np.asarray(image)
    height, width = pixels.shape[:2]
    across, down = max(0, round(height * ratio) - width), max(0, round(width / ratio) - height)
    for axis, extra in ((1, across), (0, down)):
        pixels = np.concatenate(
            [_margin(pixels, axis, extra // 2, False), pixels, _margin(pixels, axis, extra - extra // 2, True)], axis
        )
    return Image.fromarray(pixels)


def _margin(pixels: np.ndarray, axis: int, extra: int, at_end: bool) -> np.ndarray:
    """``extra`` rows (axis 0) or columns (axis 1) that go on from an edge."""
    lines = np.swapaxes(pixels, 0, axis)
    edge = lines[-1 if at_end else 0]
    colour = np.median(edge, axis=0)
    if np.abs(edge - colour).mean() <= FLAT:
        margin = np.broadcast_to(colour.astype(np.uint8), (extra, *edge.shape))
    else:
        before, after = (0, extra) if at_end else (extra, 0)
        whole = np.pad(lines, ((before, after), (0, 0), (0, 0)), mode="symmetric")
        margin = whole[len(whole) - extra :] if at_end else whole[:extra]
    return np.swapaxes(margin, 0, axis)


def _writer(parts: Sequence[tuple[str, Picture]], ratio: float) -> Callable[[Path], None]:
    return lambda target: save(joined([load_rgb(picture.path) for _, picture in parts], ratio), target, ".png")
