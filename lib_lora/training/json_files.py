"""Small JSON files of a run, whose readers tolerate what a crash may leave."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeVar

from lib_lora.files import write_text

T = TypeVar("T")


def write_json(path: Path, value: Any) -> None:
    """Write ``value``, atomically."""
    write_text(path, json.dumps(value, indent=1))


def read_json(path: Path, default: T) -> T:
    """What the file holds; ``default`` where there is none."""
    try:
        value: T = json.loads(path.read_text(encoding="utf-8"))
        return value
    except FileNotFoundError:
        return default


def read_lines(path: Path) -> list[dict[str, Any]]:
    """A dict per line; a half-written line is left out."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return []
    rows = []
    for line in text.splitlines():
        try:
            rows.append(json.loads(line))
        except ValueError:
            continue  # cut off by a crash; its step will be done and written again
    return rows
