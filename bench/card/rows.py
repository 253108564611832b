"""The table: what was measured, and what could not be."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

from lib_lora.models.memory import is_out_of_memory

T = TypeVar("T")
LATE = "not tried: the time was over"


class Rows:
    """Rows in the order in which they were measured.

    Args:
        budget: seconds from now within which a measurement may begin.
        say: gets each row as a line of text.

    Attributes:
        found: a dictionary each.
    """

    def __init__(self, budget: float, say: Callable[[str], object]):
        self.found: list[dict[str, Any]] = []
        self._begin, self._budget, self._say = time.monotonic(), budget, say

    def seconds(self) -> float:
        """Since the table was begun."""
        return time.monotonic() - self._begin

    def add(self, part: str, what: str, measure: Callable[[], dict[str, Any]]) -> dict[str, Any] | None:
        """The figures of ``measure``, a row of the table; None where it failed or had no time left."""
        figures, note = None, LATE
        if self.seconds() < self._budget:
            try:
                figures, note = measure(), ""
            except Exception as error:
                note = "does not fit" if is_out_of_memory(error) else f"failed: {_said(error)}"
        self.found.append({"part": part, "what": what, **(figures or {}), **({"note": note} if note else {})})
        text = ", ".join(f"{name} {_short(value)}" for name, value in (figures or {}).items() if value is not None)
        self._say(f"{part:<22} {what:<34} {text}{note}")
        return figures

    @staticmethod
    def quietly(measure: Callable[[], T]) -> T | None:
        """What other rows only lean on; None where it cannot be had."""
        try:
            return measure()
        except Exception:
            return None


def _said(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else ''}"[:120]


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
