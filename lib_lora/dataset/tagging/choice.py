"""Probabilities -> tags: thresholds, MCut, characters first, ratings."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lib_lora.dataset.tagging.labels import CHARACTER, RATING, Label
from lib_lora.dataset.tags.edits import Tags, deduplicate
from lib_lora.dataset.tags.text import with_spaces

LEAST_CHARACTER_CUT = 0.15
# Where precision equals recall on the model's own validation set, by a part of the model's name (model cards)
BALANCED = {
    "eva02-large-tagger-v3": 0.5296,
    "vit-large-tagger-v3": 0.2606,
    "vit-tagger-v3": 0.2614,
    "swinv2-tagger-v3": 0.2653,
    "convnext-tagger-v3": 0.2682,
    "moat-tagger-v2": 0.3771,
    "swinv2-tagger-v2": 0.3771,
    "convnextv2-tagger-v2": 0.3710,
    "convnext-tagger-v2": 0.3685,
    "vit-tagger-v2": 0.3537,
}


NO_CHARACTER = 2.0  # a character_threshold that no probability reaches


@dataclass(frozen=True)
class TagChoice:
    """Which tags are taken.

    Args:
        threshold: least probability of a tag, 0 to 1.
        character_threshold: the same for characters' names; :data:`NO_CHARACTER` takes none.
        mcut: find both thresholds for each picture, at the largest gap between probabilities.
        rating: put the most probable rating last.
        exclude: tags never taken, with blanks.
        underscores: keep underscores.
    """

    threshold: float = 0.35
    character_threshold: float = 0.85
    mcut: bool = False
    rating: bool = False
    exclude: tuple[str, ...] = ()
    underscores: bool = False


def balanced_threshold(model: str) -> float | None:
    """The threshold at which a known model misses as much as it invents; None for others."""
    name = model.casefold()
    return next((value for part, value in BALANCED.items() if part in name), None)


def mcut(probabilities: np.ndarray) -> float:
    """The middle of the largest gap in the sorted values (Largeron et al. 2012, "MCut: a thresholding strategy").

    Fewer than two values have no gap: 1.
    """
    if len(probabilities) < 2:
        return 1.0
    ordered = np.sort(probabilities)[::-1]
    at = int(np.argmax(ordered[:-1] - ordered[1:]))
    return float(ordered[at] + ordered[at + 1]) / 2


def choose(probabilities: np.ndarray, labels: tuple[Label, ...], choice: TagChoice) -> Tags:
    """Tags of one picture: characters, then the others by probability, then the rating. float [T] -> tags."""
    kinds = np.array([label.category for label in labels])
    characters = _above(probabilities, kinds == CHARACTER, choice, choice.character_threshold, LEAST_CHARACTER_CUT)
    others = _above(probabilities, ~np.isin(kinds, (CHARACTER, RATING)), choice, choice.threshold, 0.0)
    rated = np.flatnonzero(kinds == RATING)
    rating = [int(rated[np.argmax(probabilities[rated])])] if choice.rating and len(rated) else []
    names = [labels[row].name for row in (*characters, *others, *rating)]
    tags = [name if choice.underscores else with_spaces(name) for name in names]
    return deduplicate(tuple(tag for tag in tags if tag not in choice.exclude))


def _above(values: np.ndarray, which: np.ndarray, choice: TagChoice, threshold: float, least: float) -> list[int]:
    rows = np.flatnonzero(which)
    if choice.mcut and threshold <= 1:
        threshold = max(least, mcut(values[rows]))
    chosen = rows[values[rows] >= threshold]
    return chosen[np.argsort(-values[chosen], kind="stable")].tolist()
