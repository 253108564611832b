"""The settings as they stand in the form, kept over a reload and a restart."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lib_lora.files import atomic_write, turn
from lib_lora.small_files import damage, mapping, set_aside, tolerated
from lib_lora.training.config import default_of, settings


class Draft:
    """One file with the preset and the values of the form, written by what a user does and never by loading a page.

    Two pages that are open at once write what was changed in each: a field that is typed into replaces itself alone.
    """

    def __init__(self, path: Path):
        self.path = path

    def save(self, preset: str, values: Mapping[str, Any]) -> None:
        """Replace everything: a preset was chosen, or a config taken in."""
        with turn(self.path):
            self._write(preset, values)

    def put(self, preset: str, changed: Mapping[str, Any], shown: Mapping[str, Any]) -> None:
        """Replace some settings.

        Args:
            shown: what the page shows, for all settings of which nothing is kept yet.
        """
        with turn(self.path):
            before = self.load()
            kept = {**shown, **before[1]} if before else dict(shown)
            self._write(preset, {**kept, **changed})

    def load(self) -> tuple[str, dict[str, Any]] | None:
        """(preset, values of settings that still exist); None if nothing was kept or it cannot be read."""
        return tolerated(self.path, _content, None)

    def fault(self) -> str:
        """What is wrong with what was kept, with what to do; empty where nothing is."""
        return damage(self.path, _content)

    def _write(self, preset: str, values: Mapping[str, Any]) -> None:
        set_aside(self.path, _content)
        with atomic_write(self.path, durable=False) as part:
            part.write_text(
                json.dumps({"preset": preset, "values": dict(values)}, ensure_ascii=False), encoding="utf-8"
            )


def _content(content: Any) -> tuple[str, dict[str, Any]]:
    found, known = mapping(content), settings()
    values = {name: value for name, value in mapping(found["values"]).items() if name in known}
    return str(found["preset"]), {name: value for name, value in values.items() if _fits(name, value)}


def _fits(name: str, value: Any) -> bool:
    """Whether the setting's field can show it; a field of numbers may be empty."""
    kind = type(default_of(settings()[name]))
    if kind in (int, float):
        return value is None or (type(value) in (int, float) and abs(value) < 1e300)
    return type(value) is kind
