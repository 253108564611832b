"""A config as a file of any name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lib_lora.training.importers import import_config
from lib_lora.training.importers.report import Imported


@pytest.fixture
def imported(tmp_path: Path):
    def read(content: str | dict[str, Any], name: str = "config") -> Imported:
        path = tmp_path / name
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
        return import_config(path)

    return read
