"""What became of every key of an imported config."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, field, replace
from typing import Any

from lib_lora.training.config import TrainConfig, settings
from lib_lora.training.importers.values import Unreadable, is_nothing

APPLIED, TRANSLATED, IGNORED, UNKNOWN = "applied", "translated", "ignored", "unknown"
CANNOT_BE_READ = "Cannot be read"


@dataclass(frozen=True)
class Line:
    """One key of the file: its value, what was done with it, and why or how."""

    key: str
    value: Any
    outcome: str
    text: str


@dataclass(frozen=True)
class Imported:
    """Settings found in a config, a line for every key that it has, and the name of its format."""

    values: dict[str, Any]
    lines: tuple[Line, ...]
    format: str = ""

    def applied_to(self, config: TrainConfig) -> TrainConfig:
        """A copy of ``config`` with the imported settings; not yet checked."""
        return replace(config, **self.values)

    def with_outcome(self, *outcomes: str) -> list[Line]:
        """The lines that ended so, in the order of the file."""
        return [line for line in self.lines if line.outcome in outcomes]

    def and_then(self, other: Imported) -> Imported:
        """This, with the settings of ``other`` over it."""
        return Imported({**self.values, **other.values}, (*self.lines, *other.lines), self.format)


@dataclass
class Reading:
    """Collects settings and lines while a config is read.

    Attributes:
        raw: every key's value as the file has it, for the lines.
        names: what the file itself calls a key, where that is not kohya's name.
    """

    values: dict[str, Any]
    raw: Mapping[str, Any] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)
    lines: list[Line] = field(default_factory=list)

    def given(self, reader_of: Callable[[str], Callable[[Any], Any]]) -> dict[str, Any]:
        """Every key's value, read; without those that are empty or cannot be read, which get their line.

        All of a file is read before any of it is used, so a key that cannot be read is as if it were not there.
        """
        found: dict[str, Any] = {}
        for key, value in self.raw.items():
            if is_nothing(value):
                self.ignore(key, "Empty")
                continue
            try:
                found[key] = reader_of(key)(value)
            except Unreadable as error:
                self.unreadable(key, error)
        return found

    def apply(self, key: str, value: Any, setting: str) -> None:
        """The key is a setting of ours under another name; ``value`` is of its kind."""
        f = settings()[setting]
        offered = nearest(f, value)
        self.values[setting] = offered
        if offered == value:
            self.note(key, APPLIED, f"{f.metadata['label']} = {value}")
        else:
            self.note(key, TRANSLATED, f"{f.metadata['label']} = {offered}, the nearest that is offered")

    def translate(self, key: str, text: str, **values: Any) -> None:
        """The key becomes other settings, each brought into its range; ``text`` says how."""
        self.values.update({name: nearest(settings()[name], value) for name, value in values.items()})
        self.note(key, TRANSLATED, text)

    def ignore(self, key: str, reason: str) -> None:
        """The key changes nothing here."""
        self.note(key, IGNORED, reason)

    def unreadable(self, key: str, reason: Unreadable | str) -> None:
        """The key's value cannot be read, so all else is as if the key were not there."""
        self.note(key, IGNORED, f"{CANNOT_BE_READ}, {reason}")

    def note(self, key: str, outcome: str, text: str) -> None:
        """Say what became of ``key``."""
        self.lines.append(Line(self.names.get(key, key), self.raw.get(key), outcome, text))

    def result(self) -> Imported:
        """All that was found, the lines in the order of the file."""
        if self.values.get("schedule") == "constant" and self.values.get("warmup"):
            self.values["schedule"] = "constant_with_warmup"
        place = {self.names.get(key, key): i for i, key in enumerate(self.raw)}
        lines = sorted(self.lines, key=lambda line: place.get(line.key, len(place)))
        return Imported(dict(self.values), tuple(lines))


def nearest(f: Field[Any], value: Any) -> Any:
    """``value``, or the end of the setting's range that is nearest to it."""
    low, high = f.metadata["low"], f.metadata["high"]
    return value if low is None else type(value)(min(max(value, low), high))
