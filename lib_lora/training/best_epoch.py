"""Which epoch to take, and how sure that is.

Each epoch is measured on the same pictures with the same noise, so two epochs are compared picture by picture: what
makes one picture harder than another cancels out, and the uncertainty of the difference is far smaller than that of
either mean (a paired comparison). A picture's noise levels share one noise and are averaged first.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

ERRORS = 2.0  # standard errors that a difference must exceed to count, about 95 %
FEWEST = 4  # pictures, below which no uncertainty is stated


@dataclass(frozen=True)
class Difference:
    """How much higher the loss of ``epoch`` is than the suggested one's; ``error`` is the standard error of that."""

    epoch: int
    mean: float
    error: float

    @property
    def clear(self) -> bool:
        """Whether it is more than chance."""
        return self.mean > ERRORS * self.error


@dataclass(frozen=True)
class Suggestion:
    """The epoch of the lowest loss.

    ``kind`` is ``"validation"`` where pictures were held out, else ``"fixed noise"``. ``differences`` compares every
    other epoch with it; it is empty where there are too few pictures to tell.
    """

    epoch: int
    loss: float
    kind: str
    pictures: int
    differences: tuple[Difference, ...]

    @property
    def as_good(self) -> tuple[int, ...]:
        """Other epochs whose loss is not clearly higher."""
        return tuple(d.epoch for d in self.differences if not d.clear)


def suggest_epoch(rows: Sequence[Mapping[str, Any]]) -> Suggestion | None:
    """A suggestion from the rows of ``epochs.json``; None where no loss was measured.

    The loss on held-out pictures decides if there is one: that on training pictures falls as long as they are learned
    by heart.
    """
    for kind, prefix in (("validation", "validation"), ("fixed noise", "fixed")):
        measured = [row for row in rows if row.get(f"{prefix}_loss") is not None]
        if measured:
            return _suggest(measured, kind, prefix)
    return None


def _suggest(rows: Sequence[Mapping[str, Any]], kind: str, prefix: str) -> Suggestion:
    best = min(rows, key=lambda row: row[f"{prefix}_loss"])
    ours = best.get(f"{prefix}_losses") or []
    differences = []
    for row in rows:
        theirs = row.get(f"{prefix}_losses") or []
        if row is not best and len(theirs) == len(ours) >= FEWEST:
            differences.append(_difference(row["epoch"], ours, theirs))
    return Suggestion(best["epoch"], best[f"{prefix}_loss"], kind, len(ours), tuple(differences))


def _difference(epoch: int, ours: Sequence[float], theirs: Sequence[float]) -> Difference:
    pairs = [b - a for a, b in zip(ours, theirs, strict=True)]
    return Difference(epoch, fmean(pairs), stdev(pairs) / math.sqrt(len(pairs)))
