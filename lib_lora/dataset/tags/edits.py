"""What can be done to the tags of one picture: an edit is a function from tags to tags."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from lib_lora import patterns
from lib_lora.dataset.tags.pieces import is_sentence, split_pieces
from lib_lora.dataset.tags.text import escaped_brackets, plain_brackets, with_spaces, with_underscores

Tags = tuple[str, ...]
Edit = Callable[[Tags], Tags]


@dataclass(frozen=True)
class Add:
    """Tags that are missing go to the end; with ``first``, all of them go to the front in the given order."""

    tags: Tags
    first: bool = False

    def __call__(self, tags: Tags) -> Tags:
        if self.first:
            return (*self.tags, *(t for t in tags if t not in self.tags))
        return (*tags, *(t for t in self.tags if t not in tags))


@dataclass(frozen=True)
class Remove:
    """Take away tags that equal one of these."""

    tags: Tags

    def __call__(self, tags: Tags) -> Tags:
        return tuple(t for t in tags if t not in self.tags)


@dataclass(frozen=True)
class Replace:
    """Whole tags by others: the first of ``old`` that is met becomes ``new``, the others go. Empty ``new`` removes.

    A new tag that is there already is not repeated.
    """

    old: Tags
    new: Tags

    def __call__(self, tags: Tags) -> Tags:
        staying = {tag for tag in tags if tag not in self.old}
        out, done = [], False
        for tag in tags:
            if tag not in self.old:
                out.append(tag)
            elif not done:
                out += [new for new in dict.fromkeys(self.new) if new not in staying]
                done = True
        return tuple(out)


class ReplacePattern:
    """Text inside tags by a regular expression, tag by tag; what becomes empty goes, a comma makes two tags.

    Args:
        pattern: searched anywhere in a tag; anchor it with ``^`` and ``$``.
        replacement: may use ``\\1`` or ``\\g<name>``.

    Raises:
        UserError: either is not valid; or, when it is used, it takes too long.
    """

    def __init__(self, pattern: str, replacement: str, ignore_case: bool = False):
        patterns.check(pattern, replacement)
        self._pattern, self._replacement, self._ignore_case = pattern, replacement, ignore_case
        self._known: dict[str, str] = {}

    def prepare(self, tags: Iterable[str]) -> None:
        """Replace in all of these at once, which is much faster than for each picture.

        Raises:
            UserError: the pattern takes too long.
        """
        new = [tag for tag in dict.fromkeys(tags) if tag not in self._known]
        changed = patterns.replaced(self._pattern, self._replacement, new, ignore_case=self._ignore_case)
        self._known.update(zip(new, changed, strict=True))

    def __call__(self, tags: Tags) -> Tags:
        self.prepare(tags)
        both = [(tag, self._known[tag]) for tag in tags]
        return _changed(tags, [(tag,) if new == tag else tuple(split_pieces(new)) for tag, new in both])


@dataclass(frozen=True)
class Sort:
    """By alphabet, or by frequency where one is given (most frequent first); the first ``keep`` tags stay."""

    frequency: Mapping[str, int] = field(default_factory=dict, hash=False)
    keep: int = 0

    def __call__(self, tags: Tags) -> Tags:
        rest = sorted(tags[self.keep :], key=lambda t: (-self.frequency.get(t, 0), t.casefold(), t))
        return (*tags[: self.keep], *rest)


@dataclass(frozen=True)
class Normalise:
    """One spelling: blanks or underscores, brackets plain (training) or escaped (prompts). Kaomoji, sentences stay."""

    underscores: bool = False
    escaped: bool = False

    def __call__(self, tags: Tags) -> Tags:
        spell = with_underscores if self.underscores else with_spaces
        bracket = escaped_brackets if self.escaped else plain_brackets

        def spelt(tag: str) -> Tags:
            new = tag if is_sentence(tag) else bracket(spell(plain_brackets(tag)))
            return (new,) if new else ()

        return _changed(tags, [spelt(tag) for tag in tags])


@dataclass(frozen=True)
class PruneImplied:
    """Remove what another tag of the picture already says.

    A tag is implied by one that ends with all its words (``hair`` by ``long hair``, ``long hair`` by ``very long
    hair``; but not by ``no shoes``), or by one that ``implications`` names (tag -> what it implies).
    The first ``keep`` tags stay.
    """

    implications: Mapping[str, frozenset[str]] = field(default_factory=dict, hash=False)
    keep: int = 1

    def __call__(self, tags: Tags) -> Tags:
        implied = {said for tag in tags if not is_sentence(tag) for said in self._implied_by(tag)}
        return tuple(t for i, t in enumerate(tags) if i < self.keep or t not in implied)

    def _implied_by(self, tag: str) -> set[str]:
        words = re.split(r"[ _]", tag)
        if words[0] in ("no", "without"):
            return set(self.implications.get(tag, ()))
        starts = [i + 1 for i, letter in enumerate(tag) if letter in " _"]
        return {tag[start:] for start in starts} | set(self.implications.get(tag, ()))


def _changed(tags: Tags, by: Sequence[Tags]) -> Tags:
    """Each tag replaced by others (or itself). What became equal by it is there once; other repeats are left alone."""
    made = {part for tag, new in zip(tags, by, strict=True) if new != (tag,) for part in new}
    out: list[str] = []
    for part in (part for new in by for part in new):
        if part not in made or part not in out:
            out.append(part)
    return tuple(out)


def deduplicate(tags: Tags) -> Tags:
    """The first of equal tags stays."""
    return tuple(dict.fromkeys(tags))


def chain(*edits: Edit) -> Edit:
    """One edit after another."""

    def apply(tags: Tags) -> Tags:
        for edit in edits:
            tags = edit(tags)
        return tags

    return apply
