"""The settings as they stand in the form, kept over a reload and a restart."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lib_lora.files import atomic_write
from lib_lora.training.config import settings


class Draft:
    """One file with the preset and the values of the form."""

    def __init__(self, path: Path):
        self.path = path
        self._last = ""

    def save(self, preset: str, values: Mapping[str, Any]) -> bool:
        """Replace what was kept; False if this is what was kept last."""
        text = json.dumps({"preset": preset, "values": dict(values)}, ensure_ascii=False)
        if text == self._last:
            return False
        with atomic_write(self.path, durable=False) as part:
            part.write_text(text, encoding="utf-8")
        self._last = text
        return True

    def load(self) -> tuple[str, dict[str, Any]] | None:
        """(preset, values of settings that still exist); None if nothing was kept or it cannot be read."""
        try:
            found = json.loads(self.path.read_text(encoding="utf-8"))
            return found["preset"], {name: v for name, v in found["values"].items() if name in settings()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None
