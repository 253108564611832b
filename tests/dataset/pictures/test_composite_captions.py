"""Captions of joined pictures say who stands where, how many they are, and nothing that is true of one alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from lib_lora.dataset.collection.picture import Picture
from lib_lora.dataset.pictures.composite_captions import caption, people


def picture(*tags: str) -> Picture:
    return Picture(Path("a.png"), (8, 8), 1, 0, Path("a"), tags)


MIRA = ("mira", picture("mira", "1girl", "solo", "smile"))
TOMO = ("tomo", picture("tomo", "1boy", "solo focus", "hat (blue)"))
KAI = ("kai", picture("1girl", "kai"))


@pytest.mark.parametrize(
    ("parts", "template", "expected"),
    [
        ([MIRA, TOMO], "", "mira/tomo/COMPOSITE, 1girl, 1boy, smile, hat (blue)"),
        ([MIRA, TOMO], "CharRight and CharLeft, TagsRight,,", "tomo and mira, 1boy, hat (blue)"),
        (
            [MIRA, TOMO],
            "CharLeft, CharRight, People, TagsLeft, TagsRight",
            "mira, tomo, 1girl, 1boy, smile, hat (blue)",
        ),
        ([MIRA, KAI], "People, TagsLeft", "2girls, smile"),
        ([MIRA, TOMO, KAI], "", "mira/tomo/kai/COMPOSITE, 2girls, 1boy, smile, hat (blue)"),
        ([("TagsRight", picture("TagsRight", "x")), KAI], "CharLeft, TagsRight", "TagsRight, 1girl"),
        ([MIRA, TOMO], "CharMiddle, Peoples", "CharMiddle, Peoples"),
    ],
    ids=["default", "own order", "people", "sum", "three", "a trigger like a field", "no such place"],
)
def test_the_template_is_filled_in(parts, template, expected):
    assert caption(parts, template) == expected


def test_people_are_added_up_by_kind():
    assert people([picture("2girls", "1boy"), picture("1girl", "1other"), picture("cat")]) == "3girls, 1boy, 1other"
    assert people([picture("girl"), picture("6+girls")]) == ""
