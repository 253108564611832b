"""``metrics.jsonl`` from its end: what a run needs of it are the last steps, however long it is.

A line per step, in their order; lines that cannot be read, such as one that was cut off, count as none.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lib_lora.small_files import UNREADABLE
from lib_lora.training import run_files

BLOCK = 1 << 16  # bytes read at once


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
