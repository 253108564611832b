"""Files that are either whole or not there."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

RENAME_TRIES = 20  # virus scanners and previews hold new files open for a moment on Windows


@contextmanager
def atomic_write(path: str | Path, durable: bool = True) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; on success fsync it (if ``durable``) and rename it into place.

    The temporary name starts with a dot and ends in ``.part``, so hosts do not list it. If the body raises, the
    temporary file is removed and ``path`` is as it was.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{uuid4().hex[:12]}.part")
    try:
        yield part
        if durable:
            with open(part, "rb+") as f:
                os.fsync(f.fileno())
        move(part, path)
    finally:
        part.unlink(missing_ok=True)


def move(source: Path, target: Path) -> None:
    """Rename within one file system, replacing ``target``; waits for programs that hold a file open on Windows."""
    for attempt in range(RENAME_TRIES):
        try:
            os.replace(source, target)
            return
        except PermissionError:
            if attempt == RENAME_TRIES - 1:
                raise
            time.sleep(0.05 * (attempt + 1))


def write_text(path: str | Path, text: str) -> None:
    """Write ``text`` as UTF-8, atomically."""
    with atomic_write(path) as part:
        part.write_text(text, encoding="utf-8", newline="\n")


def sha256_file(path: str | Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    digest = hashlib.sha256()
    with open(path, "rb") as f:
        while block := f.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
