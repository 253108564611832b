"""The caption of a step: trigger first, kept tags, shuffled tags, left and right swapped in a mirrored image."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass

# As whole words, also between underscores; "left behind" and "right behind" are no directions.
_SIDE = re.compile(r"(?<![^\W_])(left|right|Left|Right|LEFT|RIGHT)(?![^\W_])(?![ _]behind)")
_SWAPPED = {"left": "right", "right": "left", "Left": "Right", "Right": "Left", "LEFT": "RIGHT", "RIGHT": "LEFT"}


def split_tags(caption: str) -> list[str]:
    """Comma-separated tags without blanks around them and without empty ones; everything else is literal."""
    return [tag for part in caption.split(",") if (tag := part.strip())]


def swap_sides(text: str) -> str:
    """Exchange left and right as words: "left hand", "from_left", not "cleft", "bright" or "copyright"."""
    return _SIDE.sub(lambda found: _SWAPPED[found[0]], text)


@dataclass(frozen=True)
class CaptionPipeline:
    """A caption as written -> the caption that the model sees.

    Args:
        trigger: put first and never mirrored; tags that equal one of its own are not repeated.
        keep_tokens: that many tags at the front stay in place; the trigger's tags count, and always stay.
        shuffle: the other tags are drawn in a new order each time.
    """

    trigger: str = ""
    keep_tokens: int = 0
    shuffle: bool = False

    def __call__(self, caption: str, rng: random.Random, flipped: bool = False) -> str:
        """Final caption, tags joined by ", "; brackets, backslashes and weights stay as they are.

        Args:
            caption: as written by the user.
            rng: draws the order of the tags; not touched when nothing is shuffled.
            flipped: the image is mirrored, so left and right change places.
        """
        first = split_tags(self.trigger)
        rest = [tag for tag in split_tags(caption) if tag not in first]
        if flipped:
            rest = [swap_sides(tag) for tag in rest]
        tags = first + rest
        kept = max(self.keep_tokens, len(first))
        flexible = tags[kept:]
        if self.shuffle:
            rng.shuffle(flexible)
        return ", ".join(tags[:kept] + flexible)
