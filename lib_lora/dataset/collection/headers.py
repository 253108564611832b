"""Sizes of pictures, read once from their headers and remembered."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from lib_lora.dataset.images import Header, read_header
from lib_lora.errors import UserError
from lib_lora.files import write_text
from lib_lora.small_files import mapping, text, tolerated, whole

Row = tuple[int, int, int, int, str, bool]  # modification time in ns, bytes, width, height, kind, animated


class Headers:
    """Headers by path, modification time and length, in ``file``. A damaged or missing file is made anew."""

    def __init__(self, file: Path):
        self._file = file
        self._known = tolerated(file, _rows, {})
        self._changed = False

    def get(self, path: Path, state: os.stat_result) -> Header:
        """The header of ``path``, whose ``stat()`` is ``state``.

        Raises:
            BadFile: see `lib_lora.dataset.images.read_header`.
        """
        stamp = (state.st_mtime_ns, state.st_size)
        known = self._known.get(str(path))
        if known and known[:2] == stamp:
            return Header((known[2], known[3]), known[4], known[5])
        header = read_header(path)
        self._known[str(path)] = (*stamp, *header.size, header.kind, header.animated)
        self._changed = True
        return header

    def save(self) -> None:
        """Write the file if it changed; a full disk or missing rights cost only the time of the next opening."""
        if self._changed:
            with suppress(OSError, UserError):
                write_text(self._file, json.dumps(self._known))
            self._changed = False


def _rows(content: Any) -> dict[str, Row]:
    return {path: _row(*row) for path, row in mapping(content).items()}


def _row(modified: Any, length: Any, width: Any, height: Any, kind: Any, animated: Any) -> Row:
    if not isinstance(animated, bool):
        raise ValueError("animated or not")
    return whole(modified), whole(length), whole(width, 1), whole(height, 1), text(kind), animated
