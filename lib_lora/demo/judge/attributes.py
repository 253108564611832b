"""What the judge reads, what a picture's spec says about it, and how often the two agree."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from ..world import CLOTH, HAIR, HATS, PLAIN, SCENES, STYLES, UNSEEN_STYLES, Character, Spec
from ..world.spec import COLORED_HATS

NO_COLOR = "none"  # the hat colour of a hat that has no colour to choose

CLASSES: dict[str, tuple[str, ...]] = {
    "hair": tuple(HAIR),
    "hat": HATS,
    "hat_color": tuple(CLOTH),
    "outfit": tuple(CLOTH),
    "background": (*PLAIN, *SCENES),
    "n": ("1", "2"),
    "style": (*STYLES, *UNSEEN_STYLES),
}


@dataclass(frozen=True)
class Reading:
    """What the judge sees in one picture; each value is one of ``CLASSES``.

    ``outfit`` is the colour of the dress, shirt, sweater or kimono. ``hat_color`` is ``"none"`` where the hat read is
    not a coloured one. ``confidence`` is the network's probability of each value, 0 … 1. Attributes of the character
    mean nothing where ``n`` is ``"2"``, nor does ``outfit`` where the outfit is out of sight.
    """

    hair: str
    hat: str
    hat_color: str
    outfit: str
    background: str
    n: str
    style: str
    confidence: dict[str, float] = field(default_factory=dict, compare=False)


def truth(spec: Spec) -> dict[str, str]:
    """The attributes that ``spec``'s picture shows. Of two characters none is *the* character, so none is listed."""
    shown = {"background": spec.background, "n": str(len(spec.characters)), "style": spec.style}
    if len(spec.characters) > 1:
        return shown
    (c,) = spec.characters
    shown |= {"hair": c.hair, "hat": c.hat}
    if c.hat in COLORED_HATS:
        shown["hat_color"] = c.hat_color
    if _outfit_shows(c, spec):
        shown["outfit"] = c.top
    return shown


def _outfit_shows(c: Character, spec: Spec) -> bool:
    """Close-ups end at the shoulders, and long hair seen from behind covers all but dresses and kimonos."""
    if spec.view == "close-up":
        return False
    return not (spec.angle == "from behind" and c.hairstyle == "long hair" and c.outfit not in ("dress", "kimono"))


def agreement(readings: Sequence[Reading], specs: Sequence[Spec]) -> dict[str, float]:
    """Share of pictures read as their spec says, 0 … 1, for each attribute that at least one picture shows.

    A hat's colour counts where the hat was read rightly; a hat that was missed is a miss of ``hat`` alone.

    Raises:
        ValueError: when there is not one spec for each reading.
    """
    hits: dict[str, list[bool]] = {name: [] for name in CLASSES}
    for reading, spec in zip(readings, specs, strict=True):
        for name, value in truth(spec).items():
            if name != "hat_color" or reading.hat == spec.characters[0].hat:
                hits[name].append(getattr(reading, name) == value)
    return {name: sum(h) / len(h) for name, h in hits.items() if h}


def majority(specs: Sequence[Spec]) -> dict[str, float]:
    """What :func:`agreement` would be for one who always guesses each attribute's commonest value."""
    values: dict[str, Counter[str]] = {name: Counter() for name in CLASSES}
    for spec in specs:
        for name, value in truth(spec).items():
            values[name][value] += 1
    return {name: max(c.values()) / c.total() for name, c in values.items() if c}
