"""Tags of a booru from a csv file, for completion; any of the files that tag-completion extensions use."""

from __future__ import annotations

import csv
from bisect import bisect_left
from dataclasses import dataclass
from pathlib import Path

from lib_lora.dataset.tags.text import imported
from lib_lora.errors import UserError

NAME_COLUMNS = ("name", "tag")
COUNT_COLUMNS = ("count", "post_count", "postcount")


@dataclass(frozen=True)
class Known:
    """A tag in the form of training captions, and how many posts have it."""

    tag: str
    count: int


class Vocabulary:
    """Tags by the words in them and by their aliases.

    Args:
        rows: (tag, posts, aliases).
    """

    def __init__(self, rows: list[tuple[str, int, tuple[str, ...]]]):
        self.size = len(rows)
        self._known = [Known(imported(name), count) for name, count, _ in rows]
        starts = [
            (start, row)
            for row, (name, _, aliases) in enumerate(rows)
            for text in (name, *aliases)
            for start in _starts(imported(text).casefold())
        ]
        starts.sort()
        self._starts, self._rows = [s for s, _ in starts], [row for _, row in starts]

    def complete(self, start: str, limit: int = 20) -> list[Known]:
        """Tags with a word (or an alias) that begins with ``start``, those of most posts first."""
        wanted = start.casefold().strip()
        first, last = bisect_left(self._starts, wanted), bisect_left(self._starts, wanted + "\U0010ffff")
        rows = set(self._rows[first:last]) if wanted else set()
        return sorted((self._known[row] for row in rows), key=lambda known: (-known.count, known.tag))[:limit]


def read_vocabulary(path: Path) -> Vocabulary:
    """A csv with a heading (``name,…,count``) or without one (``tag,type,posts,"alias,alias"``).

    Raises:
        UserError: the file cannot be read, or holds no tag.
    """
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            lines = [line for line in csv.reader(file) if line and line[0].strip()]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        fix = "Choose a csv of tags, such as danbooru.csv"
        raise UserError(f"The list of tags cannot be read ({error})", where=path, fix=fix) from error
    head = [cell.strip().casefold() for cell in lines[0]] if lines else []
    name = next((head.index(column) for column in NAME_COLUMNS if column in head), None)
    if name is None:
        rows = [(line[0], _number(line, 2), _aliases(line, 3)) for line in lines]
    else:
        count = next((head.index(column) for column in COUNT_COLUMNS if column in head), len(head))
        aliases = head.index("aliases") if "aliases" in head else len(head)
        rows = [(line[name], _number(line, count), _aliases(line, aliases)) for line in lines[1:] if len(line) > name]
    if not rows:
        raise UserError("There is no tag in this list", where=path, fix="Choose a csv of tags, such as danbooru.csv")
    return Vocabulary(rows)


def _starts(text: str) -> list[str]:
    """The text from each of its words on, as far as completion needs it."""
    return [text[i:] for i in range(len(text)) if i == 0 or text[i - 1] in " _("]


def _number(line: list[str], column: int) -> int:
    value = line[column].strip() if column < len(line) else ""
    return int(value) if value.isdigit() else 0


def _aliases(line: list[str], column: int) -> tuple[str, ...]:
    return tuple(part.strip() for part in line[column].split(",") if part.strip()) if column < len(line) else ()
