"""Which pictures have which tag: frequencies, filters, completion. Built once for a set, asked often."""

from __future__ import annotations

import fnmatch
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from lib_lora.dataset.tags.pieces import is_sentence

MOST_STARS = 2
CHUNK = 75  # tokens a text encoder takes at once, without begin and end


@dataclass(frozen=True)
class TagFilter:
    """Pictures that have all of, any of (when given), and none of these tags. ``*`` and ``?`` stand for letters.

    A sentence has a tag when it holds its words.
    """

    all_of: tuple[str, ...] = ()
    any_of: tuple[str, ...] = ()
    none_of: tuple[str, ...] = ()


class TagIndex:
    """Rows are positions in the sequence of tag lists that it was built from.

    Args:
        rows: tags and sentences. further: text to a row that is searched as well.
    """

    def __init__(self, rows: Sequence[Iterable[str]], further: Mapping[int, str] | None = None):
        self.size = len(rows)
        found: dict[str, set[int]] = {}
        for row, tags in enumerate(rows):
            for tag in tags:
                found.setdefault(tag, set()).add(row)
        sentences = {piece for piece in found if is_sentence(piece)}
        self._rows = {tag: having for tag, having in found.items() if tag not in sentences}
        self._prose = [(piece.casefold(), found[piece]) for piece in sentences]
        self._prose += [(text.casefold(), {row}) for row, text in (further or {}).items()]

    def frequencies(self) -> list[tuple[str, int]]:
        """(tag, pictures that have it), most frequent first; without sentences."""
        return sorted(((t, len(rows)) for t, rows in self._rows.items()), key=lambda pair: (-pair[1], pair[0]))

    def counter(self) -> Counter[str]:
        """Tag -> number of pictures that have it."""
        return Counter({tag: len(rows) for tag, rows in self._rows.items()})

    def select(self, wanted: TagFilter) -> list[int]:
        """Rows that pass the filter, in order."""
        found = set(range(self.size))
        for tag in wanted.all_of:
            found &= self._having(tag)
        if wanted.any_of:
            found &= set().union(*map(self._having, wanted.any_of))
        for tag in wanted.none_of:
            found -= self._having(tag)
        return sorted(found)

    def lacking(self, tags: Iterable[str]) -> list[int]:
        """Rows where one of these tags is missing, e.g. the gaps of an activation tag."""
        having = set(range(self.size))
        for tag in tags:
            having &= self._having(tag)
        return [row for row in range(self.size) if row not in having]

    def complete(self, start: str, limit: int = 20) -> list[str]:
        """Tags of the set with a word that begins with ``start``, most frequent first."""
        wanted = re.compile(rf"(?:^|[ _(]){re.escape(start.casefold())}")
        return [tag for tag, _ in self.frequencies() if wanted.search(tag.casefold())][:limit]

    def _having(self, tag: str) -> set[int]:
        if set("*?") & set(tag):
            pattern = re.compile(fnmatch.translate(tag.replace("[", "[[]")))
            having = set().union(*(rows for name, rows in self._rows.items() if pattern.match(name)))
        else:
            having = self._rows.get(tag, set())
        return having | self._speaking_of(tag) if self._prose else having

    def _speaking_of(self, tag: str) -> set[int]:
        """Rows with a sentence that holds these words."""
        if tag.count("*") > MOST_STARS:  # each multiplies the time that a search takes
            return set()
        letters = re.escape(tag.casefold()).replace(r"\*", r"\w*").replace(r"\?", r"\w")
        words = re.compile(rf"(?<!\w){letters}(?!\w)")
        return set().union(*(rows for text, rows in self._prose if words.search(text)))


def token_chunks(captions: Iterable[str], count_tokens: Callable[[str], int]) -> Counter[int]:
    """How many captions need 75, 150, 225 … tokens; the keys are these limits."""
    return Counter(CHUNK * max(1, -(-count_tokens(caption) // CHUNK)) for caption in captions)
