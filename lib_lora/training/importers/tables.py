"""A foreign format as a table: what reads each key's value, and what is done with it then."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from lib_lora.training.config import settings
from lib_lora.training.importers.report import UNKNOWN, Imported, Reading
from lib_lora.training.importers.values import Unreadable, anything, of_setting, shown, text

Reader = Callable[[Any], Any]
Rule = Callable[[Reading, str, Any, Mapping[str, Any]], None]
Option = tuple[Reader, Rule]
NOT_KNOWN = "Not known here; look it up before you rely on the result"


def read_table(options: Mapping[str, Any], table: Mapping[str, Option], defaults: Mapping[str, Any]) -> Imported:
    """Our settings for ``options``, key by key as ``table`` says; a key ending in a dot stands for all that begin so.

    Args:
        defaults: of our settings, for what is not given.
    """
    reading = Reading(dict(defaults), options)
    given = reading.given(lambda key: _entry(table, key)[0])
    for key, value in given.items():
        _entry(table, key)[1](reading, key, value, given)
    return reading.result()


def flattened(table: Mapping[Any, Any], prefix: str = "") -> dict[str, Any]:
    """Tables in tables as ``table.key``; lists and empty tables stay as they are."""
    flat: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, dict) and value:
            flat |= flattened(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def setting(name: str) -> Option:
    """The key is a setting of ours under another name."""
    return of_setting(settings()[name]), lambda reading, key, value, given: reading.apply(key, value, name)


def ignored(reason: str) -> Option:
    """The key changes nothing here."""
    return anything, lambda reading, key, value, given: reading.ignore(key, reason)


def choice(name: str, names: Mapping[str, Any]) -> Option:
    """The key is a choice of ours under other names, which are compared without regard to case."""
    known = {theirs.lower(): ours for theirs, ours in names.items()}
    label = settings()[name].metadata["label"]

    def read(value: Any) -> Any:
        if (found := text(value).strip().lower()) not in known:
            raise Unreadable(f"{shown(value)} is not offered here. The result will differ")
        return known[found]

    def use(reading: Reading, key: str, value: Any, given: Mapping[str, Any]) -> None:
        reading.translate(key, f"{label} = {value}", **{name: value})

    return read, use


def _entry(table: Mapping[str, Option], key: str) -> Option:
    if key in table:
        return table[key]
    start = next((start for start in table if start.endswith(".") and key.startswith(start)), None)
    return table[start] if start else (anything, _unknown)


def _unknown(reading: Reading, key: str, value: Any, given: Mapping[str, Any]) -> None:
    reading.note(key, UNKNOWN, NOT_KNOWN)
