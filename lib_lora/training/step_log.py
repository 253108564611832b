"""``metrics.jsonl``: what a run needs of it are the last steps, and a page that draws all of it those that came.

A line per step, in their order; lines that cannot be read, such as one that was cut off, count as none.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lib_lora.small_files import UNREADABLE, parsed_lines
from lib_lora.training import run_files

BLOCK = 1 << 16  # bytes read at once
KEPT = 4  # files whose steps are remembered: those that pages look at
MARK = 1024  # bytes before the end of what was read, by which it is known again


@dataclass
class _Read:
    """What was read of a file, up to the end of a line."""

    end: int = 0  # bytes
    mark: bytes = b""  # the last of them
    size: int = 0  # of the whole file, when it was read
    changed: int = 0  # ns, when it had been written
    rows: list[dict[str, Any]] = field(default_factory=list)

    def read_on(self, path: Path) -> list[dict[str, Any]] | None:
        """All steps of the file; None where it did not just grow."""
        with open(path, "rb") as file:
            status = os.fstat(file.fileno())
            if status.st_size == self.size and status.st_mtime_ns != self.changed and self.size:
                return None
            file.seek(self.end - len(self.mark))
            if file.read(len(self.mark)) != self.mark:
                return None
            lines, newline, rest = file.read().rpartition(b"\n")
        if newline:
            self.rows += run_files.metrics(parsed_lines(_text(lines)))
            self.end += len(lines) + 1
            self.mark = (self.mark + lines + newline)[-MARK:]
        self.size, self.changed = status.st_size, status.st_mtime_ns
        return [*self.rows, *run_files.metrics(parsed_lines(_text(rest)))]


_known: dict[Path, _Read] = {}  # the one that was asked for last comes last
_one_reads = threading.Lock()  # holds _known


def rows(path: Path) -> list[dict[str, Any]]:
    """The steps, the first first; see :func:`lib_lora.training.run_files.metrics`. They are shared: not to be changed.

    Of a file that only grew since it was read, only what is new is read.
    """
    with _one_reads:
        known = _known.pop(path, None) or _Read()
        if not path.is_file():
            return []
        found = known.read_on(path)
        if found is None:
            known = _Read()
            found = known.read_on(path) or []
        _known[path] = known
        while len(_known) > KEPT:
            del _known[next(iter(_known))]
    return found


def rows_back(path: Path) -> Iterator[dict[str, Any]]:
    """The steps, the last first; see :func:`lib_lora.training.run_files.metrics`."""
    for _, line in _lines_back(path):
        if row := _step(line):
            yield row


def cut_after(path: Path, step: int) -> bool:
    """Forget what comes after ``step``; whether there was something. The file is there afterwards."""
    if not path.exists():
        path.touch()
    end = next((at + len(line) for at, line in _lines_back(path) if (row := _step(line)) and row["step"] <= step), 0)
    wanted = end + (end > 0)  # with the end of the line
    with open(path, "rb+") as file:
        size = file.seek(0, os.SEEK_END)
        if size == wanted:
            return False
        if end:
            file.seek(end)
            file.write(b"\n")
        file.truncate(wanted)
    return True


def _step(line: bytes) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except UNREADABLE:
        return None
    return next(iter(run_files.metrics([row])), None) if isinstance(row, dict) else None


def _text(data: bytes) -> str:
    return data.decode("utf-8", errors="replace")


def _lines_back(path: Path) -> Iterator[tuple[int, bytes]]:
    """Where each line begins, and the line without its end; the last first."""
    if not path.is_file():
        return
    with open(path, "rb") as file:
        start, rest = file.seek(0, os.SEEK_END), b""
        while start:
            size = min(BLOCK, start)
            start -= size
            file.seek(start)
            rest, *lines = (file.read(size) + rest).split(b"\n")
            at = start + len(rest) + 1 + sum(len(line) + 1 for line in lines)
            for line in reversed(lines):
                at -= len(line) + 1
                yield at, line
        yield 0, rest
