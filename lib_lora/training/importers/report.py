"""What became of every key of an imported config."""

from __future__ import annotations

from dataclasses import Field, dataclass, field, replace
from typing import Any

from lib_lora.training.config import TrainConfig, default_of, settings

APPLIED, TRANSLATED, IGNORED, UNKNOWN = "applied", "translated", "ignored", "unknown"


@dataclass(frozen=True)
class Line:
    """One key of the file: its value, what was done with it, and why or how."""

    key: str
    value: Any
    outcome: str
    text: str


@dataclass(frozen=True)
class Imported:
    """Settings found in a foreign config, and a line for every key that it has."""

    values: dict[str, Any]
    lines: tuple[Line, ...]

    def applied_to(self, config: TrainConfig) -> TrainConfig:
        """A copy of ``config`` with the imported settings; not yet checked."""
        return replace(config, **self.values)

    def with_outcome(self, *outcomes: str) -> list[Line]:
        """The lines that ended so, in the order of the file."""
        return [line for line in self.lines if line.outcome in outcomes]


@dataclass
class Reading:
    """Collects settings and lines while a config is read.

    Attributes:
        names: what the file itself calls a key, where that is not kohya's name.
    """

    values: dict[str, Any]
    lines: list[Line] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=dict)

    def apply(self, key: str, value: Any, setting: str) -> None:
        """The key is a setting of ours under another name."""
        f = settings()[setting]
        kind = type(default_of(f))
        try:
            converted = _as_bool(value) if kind is bool else kind(float(value)) if kind is int else kind(value)
        except (TypeError, ValueError):
            self.note(key, value, IGNORED, f"not a {kind.__name__}")
            return
        offered = nearest(f, converted)
        self.values[setting] = offered
        if offered == converted:
            self.note(key, value, APPLIED, f"{f.metadata['label']} = {converted}")
        else:
            self.note(key, value, TRANSLATED, f"{f.metadata['label']} = {offered}, the nearest that is offered")

    def translate(self, key: str, value: Any, text: str, **values: Any) -> None:
        """The key becomes other settings; ``text`` says how."""
        self.values.update(values)
        self.note(key, value, TRANSLATED, text)

    def ignore(self, key: str, value: Any, reason: str) -> None:
        """The key changes nothing here."""
        self.note(key, value, IGNORED, reason)

    def note(self, key: str, value: Any, outcome: str, text: str) -> None:
        self.lines.append(Line(self.names.get(key, key), value, outcome, text))

    def result(self) -> Imported:
        return Imported(dict(self.values), tuple(self.lines))


def nearest(f: Field, value: Any) -> Any:
    """``value``, or the end of the setting's range that is nearest to it."""
    low, high = f.metadata["low"], f.metadata["high"]
    return value if low is None else type(value)(min(max(value, low), high))


def _as_bool(value: Any) -> bool:
    if isinstance(value, str):
        return value.strip().lower() in ("true", "1", "yes")
    return bool(value)
