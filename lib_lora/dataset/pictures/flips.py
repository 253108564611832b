"""Mirrored copies, with left and right exchanged in their captions."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from PIL import ImageOps

from lib_lora.dataset.caption import swap_sides
from lib_lora.dataset.collection.change import Change, Example, Operation
from lib_lora.dataset.collection.picture import Picture
from lib_lora.dataset.pictures.making import operations
from lib_lora.dataset.tags.edits import Tags
from lib_lora.dataset.tags.pieces import first_line
from lib_lora.dataset.tags.rewriting import rewritten
from lib_lora.dataset.tags.text import join, with_spaces

ENDING = "_mirrored"
EXAMPLES = 5
# What looks wrong, or means something else, in a mirror
ASYMMETRIC = re.compile(
    r"heterochromia|asymmetrical .*|.*eyepatch.*|one side up|side ponytail|side braid|hair over one eye|single .*"
    r"|mole under .*eye|.*\btext\b.*|speech bubble|signature|watermark|artist name|logo|one eye closed"
)


def asymmetric_tags(tags: Tags) -> list[str]:
    """Tags that tell that the picture should not be mirrored without a thought."""
    return [tag for tag in tags if ASYMMETRIC.fullmatch(with_spaces(tag).casefold())]


def plan_mirrored(pictures: Sequence[Picture], keep: Collection[str] = (), skip_asymmetric: bool = False) -> Change:
    """Copies seen in a mirror, beside the originals; masks are mirrored too.

    Args:
        keep: tags in which left and right stay, e.g. the trigger.
        skip_asymmetric: make no copy of pictures with a tag such as "heterochromia"; else they are only named.
    """
    made: list[Operation] = []
    examples: list[Example] = []
    odd = [picture for picture in pictures if asymmetric_tags(picture.tags)]
    left_out = set(odd) if skip_asymmetric else set()
    chosen = [picture for picture in pictures if picture not in left_out]
    for picture in chosen:
        caption = mirrored_text(picture, keep)
        made += operations(picture, ENDING, ImageOps.mirror, caption)
        if caption != picture.text and len(examples) < EXAMPLES:
            examples.append(Example(picture.path, picture.text, caption))
    return Change("Mirrored copies", tuple(made), {"pictures made": len(chosen)}, tuple(examples), _notes(odd))


def mirrored_text(picture: Picture, keep: Collection[str] = ()) -> str:
    """Its caption with left and right exchanged, in further lines too, but not in the tags ``keep``."""
    end = first_line(picture.text)[1]
    tags = tuple(tag if tag in keep else swap_sides(tag) for tag in picture.tags)
    return rewritten(picture.text[:end], tags) + swap_sides(picture.text[end:])


def _notes(odd: Sequence[Picture]) -> tuple[str, ...]:
    if not odd:
        return ()
    shown = "; ".join(f"{p.path.name}: {join(asymmetric_tags(p.tags))}" for p in odd[:EXAMPLES])
    return (f"Not the same in a mirror: {len(odd)} ({shown})",)
