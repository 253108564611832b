"""Sets of pictures, and a picture of every byte in a folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from lib_lora.dataset.editor import STATE_FOLDER, DatasetEditor


@pytest.fixture
def opened(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], DatasetEditor]:
    """Opens ``tmp_path``; the cache lies elsewhere and is the same for each call."""
    cache = tmp_path_factory.mktemp("cache")
    return lambda: DatasetEditor([tmp_path], cache)


@pytest.fixture
def every_byte(tmp_path: Path) -> Callable[[], dict[str, bytes]]:
    """Files below ``tmp_path`` with their bytes, without the history."""

    def read() -> dict[str, bytes]:
        files = (path for path in tmp_path.rglob("*") if STATE_FOLDER not in path.parts and path.is_file())
        return {path.relative_to(tmp_path).as_posix(): path.read_bytes() for path in files}

    return read
