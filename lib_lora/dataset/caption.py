"""The caption of a step: trigger first, kept tags, shuffled tags, left and right swapped in a mirrored image.

The meanings, and the order in which they apply, are kohya's.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass

from lib_lora.dataset.tags.pieces import pieces, split_pieces
from lib_lora.dataset.tags.rewriting import rewritten

# As whole words, also between underscores; "left behind" and "right behind" are no directions.
_SIDE = re.compile(r"(?<![^\W_])(left|right|Left|Right|LEFT|RIGHT)(?![^\W_])(?![ _]behind)")
_CHOICE = re.compile(r"\{([^{}]*)\}")
_SWAPPED = {"left": "right", "right": "left", "Left": "Right", "Right": "Left", "LEFT": "RIGHT", "RIGHT": "LEFT"}


def split_tags(caption: str) -> list[str]:
    """What stands between commas, without blanks around it and without empty parts; see also `split_pieces`."""
    return [tag for part in caption.split(",") if (tag := part.strip())]


def swap_sides(text: str) -> str:
    """Exchange left and right as words: "left hand", "from_left", not "cleft", "bright" or "copyright"."""
    return _SIDE.sub(lambda found: _SWAPPED[found[0]], text)


def choose_wildcards(caption: str, rng: random.Random) -> str:
    """One of the choices of every ``{a|b|c}``; ``{{`` and ``}}`` stand for braces (kohya's ``enable_wildcard``)."""
    escaped = caption.replace("{{", "\0").replace("}}", "\1")
    chosen = _CHOICE.sub(lambda found: rng.choice(found[1].split("|")).strip(), escaped)
    return chosen.replace("\0", "{").replace("\1", "}")


@dataclass(frozen=True)
class CaptionPipeline:
    """A caption as written -> the caption that the model sees.

    Args:
        trigger: put first and never mirrored; tags that equal one of its own are not repeated.
        keep_tokens: that many tags at the front stay in place; the trigger's tags count, and always stay.
        shuffle: the other tags are drawn in a new order each time.
        prefix, suffix: put before and behind the caption with a blank, so a comma belongs to them.
        keep_separator: e.g. ``"|||"``: what stands before it stays in place, instead of ``keep_tokens``; what stands
            behind a second one stays at the end.
        secondary_separator: e.g. ``";;;"``: tags joined by it stay together; it becomes a comma at last.
        wildcards: ``{a|b}`` is one of both, drawn each time.
        dropout: share of captions that are left out whole, trigger and all.
        dropout_every_n_epochs: in every n-th epoch all captions are left out; 0 is off.
        tag_dropout: share of the flexible tags that is left out.
        split_sentences: cut sentences at their commas; else each counts as one tag, as does a number like 1,000.
        warmup_min: flexible tags at the start of a token warm-up, which takes in more of them step by step.
    """

    trigger: str = ""
    keep_tokens: int = 0
    shuffle: bool = False
    prefix: str = ""
    suffix: str = ""
    keep_separator: str = ""
    secondary_separator: str = ""
    wildcards: bool = False
    dropout: float = 0.0
    dropout_every_n_epochs: int = 0
    tag_dropout: float = 0.0
    split_sentences: bool = False
    warmup_min: int = 1

    def __call__(
        self, caption: str, rng: random.Random, flipped: bool = False, epoch: int = 1, warmed: float = 1.0
    ) -> str:
        """Final caption: as it stands where nothing moves or is left out, else its tags joined by ", ".

        Brackets, backslashes and weights stay as they are.

        Args:
            caption: as written by the user.
            rng: makes all draws; not touched when nothing is random.
            flipped: the image is mirrored, so left and right change places.
            epoch: counted from 1.
            warmed: how much of the token warm-up is over.
        """
        every = self.dropout_every_n_epochs
        if (self.dropout and rng.random() < self.dropout) or (every and epoch % every == 0):
            return ""
        if self.wildcards:
            caption = choose_wildcards(caption, rng)
        caption = " ".join(part for part in (self.prefix, caption, self.suffix) if part)
        if not self.moves and warmed >= 1 and not (self.keep_separator and self.keep_separator in caption):
            return self._parted(self._whole(caption, flipped))
        fixed, flexible, last = self._parts(caption, flipped)
        if warmed < 1:
            flexible = flexible[: int(warmed * (len(flexible) - self.warmup_min)) + self.warmup_min]
        if self.shuffle:
            rng.shuffle(flexible)
        if self.tag_dropout:
            flexible = [tag for tag in flexible if rng.random() >= self.tag_dropout]
        return self._parted(", ".join(fixed + flexible + last))

    @property
    def moves(self) -> bool:
        """Whether tags may come in another order, or not all of them."""
        return self.shuffle or self.tag_dropout > 0

    def _parted(self, final: str) -> str:
        return final.replace(self.secondary_separator, ", ") if self.secondary_separator else final

    def _whole(self, caption: str, flipped: bool) -> str:
        """The caption with the trigger in front, where it is not there yet; nothing else changes."""
        first = split_tags(self.trigger)
        found = pieces(caption)
        begun = len(first) if [piece.text for piece in found[: len(first)]] == first else 0
        head, tail = "", caption
        if first:
            at = found[begun - 1].end if begun else 0
            head, tail = caption[:at] if begun else ", ".join(first), caption[at:]
            rest = [tag for tag in split_pieces(tail) if tag not in first]
            tail = rewritten(tail, rest)
            head += ", " if tail.strip() and not begun else ""
        return head + (swap_sides(tail) if flipped else tail)

    def _parts(self, caption: str, flipped: bool) -> tuple[list[str], list[str], list[str]]:
        """Tags that stay in front, that may move, and that stay behind."""
        first = split_tags(self.trigger)

        def tags(text: str) -> list[str]:
            parts = split_tags(text) if self.split_sentences else split_pieces(text)
            found = [tag for tag in parts if tag not in first]
            return [swap_sides(tag) for tag in found] if flipped else found

        if self.keep_separator and self.keep_separator in caption:
            fixed, flexible, *last = caption.split(self.keep_separator, 2)
            return first + tags(fixed), tags(flexible), tags("".join(last))
        all_tags = first + tags(caption)
        kept = max(self.keep_tokens, len(first))
        return all_tags[:kept], all_tags[kept:], []
