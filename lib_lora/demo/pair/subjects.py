"""The characters, their pictures and captions."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from ...files import write_text
from ...tools.pictures import save_png
from ..world import MIRA, Character, Spec, jittered, render, tags
from ..world.spec import character_tags

RIN = Character(
    hair="green",
    hairstyle="short hair",
    eyes="brown",
    outfit="kimono",
    top="purple",
    bottom="black",
    hat="crown",
)
KIT = Character(
    hair="red",
    hairstyle="spiky hair",
    eyes="green",
    outfit="sweater and shorts",
    top="blue",
    bottom="white",
    hat="cat ears",
)
Subjects = Mapping[str, Character]
PAIR: Subjects = {"mira": MIRA, "rin": RIN}
TRIO: Subjects = {**PAIR, "kit": KIT}
FIGURE, HEIGHT = 96, 128  # of each: on 64 px the miniature draws known tags right in 15 of 24 pictures, on 96 in all
VIEW = "full body"
FREE = ("smile", "open mouth", "frown", "arms up", "waving")  # tags of a character that stay in its captions


def specs(character: Character, count: int, seed: int) -> list[Spec]:
    """One character in different poses and places, in pictures as narrow as its part of a picture of all."""
    r = random.Random(seed)
    found = (jittered(Spec((character,)), r) for _ in range(count))
    return [replace(spec, view=VIEW, size=(FIGURE, HEIGHT), flip=False) for spec in found]


def caption(trigger: str, spec: Spec) -> str:
    """The trigger, and what shall stay free to change."""
    own = set(character_tags(spec.characters[0], spec.view, spec.angle)) - set(FREE)
    return ", ".join([trigger, *(tag for tag in tags(spec) if tag not in own)])


def write_singles(root: Path, count: int, seed: int, subjects: Subjects = PAIR) -> None:
    """``1_mira``, ``1_rin`` … with ``count`` pictures each; the same seed always gives the same files."""
    for number, (trigger, character) in enumerate(subjects.items()):
        for index, spec in enumerate(specs(character, count, seed + number), start=1):
            path = root / f"1_{trigger}" / f"{trigger}{index:02}.png"
            if not path.exists():
                write_text(path.with_suffix(".txt"), caption(trigger, spec))
                save_png(render(spec), path)
