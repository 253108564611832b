"""The paper-doll world: a procedural source of pictures whose every attribute is known."""

from .render import render
from .spec import (
    CLOTH,
    HAIR,
    HATS,
    MIRA,
    PLAIN,
    SCENES,
    STYLES,
    UNSEEN_STYLES,
    Character,
    Spec,
    all_tags,
    jittered,
    random_character,
    random_spec,
    tags,
)

__all__ = [
    "CLOTH",
    "HAIR",
    "HATS",
    "MIRA",
    "PLAIN",
    "SCENES",
    "STYLES",
    "UNSEEN_STYLES",
    "Character",
    "Spec",
    "all_tags",
    "jittered",
    "random_character",
    "random_spec",
    "render",
    "tags",
]
