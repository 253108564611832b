"""From pairs of pictures to a sentence."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from bench.truth.claims import ALIKE, LEARNED, LESS, MORE, Claim

CLOSE = 0.1  # of a measure from 0 to 1: a difference below it is none that one would see
CLOSE_LOSS = 0.02  # of the share of the loss that is gone
# 97.5 % quantiles of Student's t, by degrees of freedom from 1; beyond, the normal distribution's is near enough.
T = (12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23, 2.20, 2.18, 2.16, 2.14, 2.13, 2.12, 2.11, 2.10, 2.09,
     2.09, 2.08, 2.07, 2.07, 2.06, 2.06, 2.06, 2.05, 2.05, 2.05, 2.04)  # fmt: skip


@dataclass(frozen=True)
class Difference:
    """Means of a measure in both ways, and their paired difference with its 95 % interval."""

    usual: float
    other: float
    difference: float
    low: float
    high: float
    close: float = CLOSE

    @property
    def seen(self) -> str:
        """More, less or alike; empty where there are too few pictures to tell."""
        if self.low > 0:
            return MORE
        if self.high < 0:
            return LESS
        return ALIKE if self.low > -self.close and self.high < self.close else ""


@dataclass(frozen=True)
class Verdict:
    """``holds``: whether the claim does, None where that cannot be told yet."""

    says: str
    pictures: int
    measures: dict[str, Difference]
    holds: bool | None
    sentence: str


def paired(usual: Sequence[float], other: Sequence[float], close: float = CLOSE) -> Difference:
    """Of the same prompts and seeds; at least two of them. ``close``: what is no difference."""
    gains = [b - a for a, b in zip(usual, other, strict=True)]
    count = len(gains)
    quantile = T[count - 2] if count - 2 < len(T) else 1.96
    mean, reach = fmean(gains), quantile * stdev(gains) / math.sqrt(count)
    return Difference(fmean(usual), fmean(other), mean, mean - reach, mean + reach, close)


def judged(claim: Claim, usual: Sequence[dict[str, float]], other: Sequence[dict[str, float]]) -> Verdict:
    """What the readings of both ways say of a claim."""
    measures = {
        name: paired([r[name] for r in usual], [r[name] for r in other], CLOSE_LOSS if name == LEARNED else CLOSE)
        for name in usual[0]
    }
    seen = {name: measures[name].seen for name in claim.expected}
    wrong = [name for name, wanted in claim.expected.items() if seen[name] not in ("", wanted)]
    holds = False if wrong else None if "" in seen.values() else True
    start = {True: "Holds", False: "Does not hold", None: "Cannot be told"}[holds]
    told = "; ".join(
        f"{name} {d.usual:.2f} → {d.other:.2f} ({d.difference:+.2f}, 95 % {d.low:+.2f} to {d.high:+.2f})"
        for name, d in measures.items()
    )
    return Verdict(claim.says, len(usual), measures, holds, f"{start} in {len(usual)} pairs: {told}.")
