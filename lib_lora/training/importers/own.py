"""This program's own settings files: a table a group, or some of the settings in any table."""

from __future__ import annotations

from typing import Any

from lib_lora.training.config import GROUPS, default_of, settings
from lib_lora.training.importers.kohya import is_known
from lib_lora.training.importers.report import UNKNOWN, Imported, Reading
from lib_lora.training.importers.values import anything, of_setting

IN_MANY_FILES = {"name", "model", "epochs", "schedule", "warmup", "repeats", "layers", "power", "cycles"}
OF_THIS_COMPUTER = ("model",)  # stays as it is chosen on the page


def matches(document: dict[str, Any]) -> bool:
    """Whether it has one of our groups as a table, or is made of our settings, one of which no other program has."""
    if any(isinstance(document.get(group), dict) for group in GROUPS):
        return True
    keys = set(_flat(document))
    ours = keys & settings().keys()
    return len(keys) <= 1.1 * len(ours) and any(not is_known(key) for key in ours - IN_MANY_FILES)


def read(document: dict[str, Any]) -> Imported:
    """The settings that the file has; of a group that it has, those that it lacks are at their defaults."""
    known = settings()
    flat = _flat(document)
    reading = Reading(
        {n: default_of(f) for n, f in known.items() if isinstance(document.get(f.metadata["group"]), dict)}, flat
    )
    for key, value in reading.given(lambda key: of_setting(known[key]) if key in known else anything).items():
        if key not in known:
            reading.note(key, UNKNOWN, "Not known here; another version may have it")
        elif key in OF_THIS_COMPUTER:
            reading.ignore(key, "Stays as it is chosen here")
        else:
            reading.apply(key, value, key)
    for name in OF_THIS_COMPUTER:
        reading.values.pop(name, None)
    return reading.result()


def _flat(document: dict[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in document.items():
        flat.update(value if isinstance(value, dict) else {key: value})
    return {str(key): value for key, value in flat.items()}
