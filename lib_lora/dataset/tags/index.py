"""Which pictures have which tag: frequencies, filters, completion. Built once for a set, asked often."""

from __future__ import annotations

import fnmatch
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

CHUNK = 75  # tokens a text encoder takes at once, without begin and end


@dataclass(frozen=True)
class TagFilter:
    """Pictures that have all of, any of (when given), and none of these tags. ``*`` and ``?`` stand for letters."""

    all_of: tuple[str, ...] = ()
    any_of: tuple[str, ...] = ()
    none_of: tuple[str, ...] = ()


class TagIndex:
    """Rows are positions in the sequence of tag lists that it was built from."""

    def __init__(self, rows: Sequence[Iterable[str]]):
        self.size = len(rows)
        self._rows: dict[str, set[int]] = {}
        for row, tags in enumerate(rows):
            for tag in tags:
                self._rows.setdefault(tag, set()).add(row)

    def frequencies(self) -> list[tuple[str, int]]:
        """(tag, pictures that have it), most frequent first."""
        return sorted(((t, len(rows)) for t, rows in self._rows.items()), key=lambda pair: (-pair[1], pair[0]))

    def counter(self) -> Counter[str]:
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
        if tag in self._rows or not set("*?") & set(tag):
            return self._rows.get(tag, set())
        pattern = re.compile(fnmatch.translate(tag.replace("[", "[[]")))
        return set().union(*(rows for name, rows in self._rows.items() if pattern.match(name)))


def token_chunks(captions: Iterable[str], count_tokens: Callable[[str], int]) -> Counter[int]:
    """How many captions need 75, 150, 225 … tokens; the keys are these limits."""
    return Counter(CHUNK * max(1, -(-count_tokens(caption) // CHUNK)) for caption in captions)
