"""SHA-256 of image files, each read once as long as it does not change."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lib_lora.files import sha256_file, write_text
from lib_lora.small_files import mapping, text, tolerated, whole

INDEX_NAME = "hashes.json"
Row = tuple[int, int, str]  # modification time in ns, bytes, digest


class FileHashes:
    """Remembers hashes by path, modification time and size, in ``folder`` when there is one.

    The index is only a saving of time: a damaged or missing one is made anew.
    """

    def __init__(self, folder: Path | None = None):
        self._index = None if folder is None else Path(folder) / INDEX_NAME
        self._known = _read_index(self._index)
        self._changed = False

    def sha256(self, path: Path) -> str:
        """Hex digest of the file's bytes.

        Raises:
            OSError: the file cannot be read.
        """
        state = path.stat()
        stamp = (state.st_mtime_ns, state.st_size)
        key = str(path.resolve())
        known = self._known.get(key)
        if known is None or known[:2] != stamp:
            known = self._known[key] = (*stamp, sha256_file(path))
            self._changed = True
        return known[2]

    def save(self) -> None:
        """Write the index if it has changed."""
        if self._index is not None and self._changed:
            write_text(self._index, json.dumps(self._known))
            self._changed = False


def _read_index(path: Path | None) -> dict[str, Row]:
    return {} if path is None else tolerated(path, _rows, {})


def _rows(content: Any) -> dict[str, Row]:
    return {key: (whole(mtime), whole(size), text(digest)) for key, (mtime, size, digest) in mapping(content).items()}
