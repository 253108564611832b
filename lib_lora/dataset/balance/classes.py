"""Face close-up, main visual, full body or discard: proposed from tags and shape, for the user to correct."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lib_lora.dataset.collection.change import Change
from lib_lora.dataset.collection.moving import merged, plan_move
from lib_lora.dataset.collection.picture import Picture
from lib_lora.dataset.tags.text import with_spaces

FACE, MAIN, FULL, DISCARD = CLASSES = ("face", "main", "full", "discard")
SIGNS: dict[str, tuple[str, ...]] = {  # tags that speak for a class; the first class that has one wins
    DISCARD: ("multiple views", "comic", "4koma", "no humans", "chibi inset", "reference sheet", "collage"),
    FACE: ("close-up", "portrait", "face focus", "face", "head", "eye focus"),
    FULL: ("full body", "wide shot", "very wide shot"),
    MAIN: ("upper body", "cowboy shot", "bust", "half body", "lower body", "straight-on"),
}
MONOCHROME = frozenset({"monochrome", "greyscale", "grayscale", "black and white"})
TALL = 0.55  # width ÷ height below which a picture without signs shows the whole person
LARGE_FACE, SMALL_FACE = 0.4, 0.12  # height of the face ÷ height of the picture


@dataclass(frozen=True)
class Proposal:
    """A class, and why."""

    name: str
    reason: str


def propose(picture: Picture, face_share: float | None = None) -> Proposal:
    """The class of a picture.

    Args:
        face_share: height of the face ÷ height of the picture, where a detector has found one.
    """
    tags = {with_spaces(tag).casefold() for tag in picture.tags}
    for name, signs in SIGNS.items():
        if found := [sign for sign in signs if sign in tags]:
            return Proposal(name, found[0])
    if face_share is not None:
        name = FACE if face_share >= LARGE_FACE else MAIN if face_share >= SMALL_FACE else FULL
        return Proposal(name, f"face is {face_share:.0%} of the height")
    aspect = picture.size[0] / picture.size[1]
    return Proposal(FULL, "tall picture") if aspect <= TALL else Proposal(MAIN, "no other sign")


def monochrome_share(pictures: Sequence[Picture]) -> float:
    """Part of the pictures that are tagged black and white; more than half spoil a colour model."""
    return sum(bool(MONOCHROME & set(map(with_spaces, picture.tags))) for picture in pictures) / max(1, len(pictures))


def plan_folders(chosen: Mapping[str, Sequence[Picture]], repeats: Mapping[str, int], root: Path, name: str) -> Change:
    """Move each class into ``root/N_name class`` (kohya's folders), and what is discarded into ``root/.discarded``.

    A folder whose name starts with a dot is not trained.
    """
    parts = []
    for kind, pictures in chosen.items():
        folder = root / (".discarded" if kind == DISCARD else f"{repeats[kind]}_{name} {kind}")
        parts.append(plan_move([p for p in pictures if p.path.parent != folder], folder, kind))
    return merged(parts, "Sort into folders")
