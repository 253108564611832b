"""The caption of pictures joined side by side, by a template."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from lib_lora.dataset.collection.picture import Picture
from lib_lora.dataset.tags.text import join

PLACES = {2: ("Left", "Right"), 3: ("Left", "Middle", "Right")}
ALONE = frozenset({"solo", "solo focus"})  # untrue of every joined picture
_COUNTED = re.compile(r"(\d+)(girl|boy|other)s?")
_FIELD = re.compile(r"(Char|Tags)(Left|Middle|Right)|\bPeople\b")


def caption(parts: Sequence[tuple[str, Picture]], template: str = "") -> str:
    """What a joined picture's caption file says.

    Args:
        parts: (activation tag, picture), left to right; two or three.
        template: CharLeft and TagsLeft, CharRight … (and CharMiddle) are filled in, and People by how many there are
            (``2girls``, or ``1girl, 1boy``). Empty: ``CharLeft/CharRight/COMPOSITE, People, TagsLeft, TagsRight``; that
            of gustproof's guide "1to2", which has no People, says 1girl twice of two girls.

    A picture's tags come without its own activation tag and without ``solo``; with People in the template, also
    without the count (``1girl``) that it adds up.
    """
    places = PLACES[len(parts)]
    if not template:
        names, tags = (", ".join(f"{kind}{place}" for place in places) for kind in ("Char", "Tags"))
        template = f"{names.replace(', ', '/')}/COMPOSITE, People, {tags}"
    counts = re.search(r"\bPeople\b", template) is not None
    values = {"People": people([picture for _, picture in parts])}
    for place, (name, picture) in zip(places, parts, strict=True):
        own = [tag for tag in picture.tags if tag != name and tag not in ALONE]
        values[f"Char{place}"] = name
        values[f"Tags{place}"] = join([tag for tag in own if not (counts and _COUNTED.fullmatch(tag))])
    filled = _FIELD.sub(lambda field: values.get(field[0], field[0]), template)
    return join([tag for part in filled.split(",") if (tag := part.strip())])


def with_sides(people: int) -> str:
    """The template that says who stands where: ``CharLeft left, CharRight right, People, TagsLeft, TagsRight``."""
    places = PLACES[people]
    names = ", ".join(f"Char{place} {place.lower()}" for place in places)
    return f"{names}, People, {', '.join(f'Tags{place}' for place in places)}"


def people(pictures: Sequence[Picture]) -> str:
    """The counts of all pictures added up: ``1girl`` and ``1girl`` make ``2girls``; "" where none is tagged."""
    counts: Counter[str] = Counter()
    for tag in (tag for picture in pictures for tag in picture.tags):
        if found := _COUNTED.fullmatch(tag):
            counts[found[2]] += int(found[1])
    return join([f"{count}{kind}{'s' * (count > 1)}" for kind, count in counts.items()])
