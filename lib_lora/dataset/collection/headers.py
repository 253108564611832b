"""Sizes of pictures, read once from their headers and remembered."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from lib_lora.dataset.images import Header, read_header
from lib_lora.files import write_text


class Headers:
    """Headers by path, modification time and length, in ``file``. A damaged or missing file is made anew."""

    def __init__(self, file: Path):
        self._file = file
        self._known = _read(file)
        self._changed = False

    def get(self, path: Path, state: os.stat_result) -> Header:
        """The header of ``path``, whose ``stat()`` is ``state``.

        Raises:
            BadFile: see `lib_lora.dataset.images.read_header`.
        """
        stamp = [state.st_mtime_ns, state.st_size]
        known = self._known.get(str(path))
        if known and known[:2] == stamp:
            return Header((known[2], known[3]), known[4], known[5])
        header = read_header(path)
        self._known[str(path)] = [*stamp, *header.size, header.kind, header.animated]
        self._changed = True
        return header

    def save(self) -> None:
        """Write the file if it changed; a folder that cannot be written costs only the time of the next opening."""
        if self._changed:
            with suppress(OSError):
                write_text(self._file, json.dumps(self._known))
            self._changed = False


def _read(file: Path) -> dict[str, list[Any]]:
    try:
        known = json.loads(file.read_text(encoding="utf-8"))
        return {str(path): row for path, row in known.items() if len(row) == 6}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}
