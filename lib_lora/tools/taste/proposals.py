"""Which two settings to compare next, and which are best by now.

The champion is the best that was shown. Its challenger is the one with the highest upper bound of its lead (Srinivas et
al., *Gaussian Process Optimization in the Bandit Setting*, 2010) among candidates in a region around the champion that
shrinks (as the trust regions of Eriksson et al., *Scalable Global Optimization via Local Bayesian Optimization*, 2019):
mean and standard deviation are those of the difference, which is what an answer tells about.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .preference import Points, Taste

Point = tuple[float, ...]

CANDIDATES = 400
FIRST_REACH, LAST_REACH = 0.55, 0.3  # how far a challenger is from the champion, at most by half more, along each side
SETTLED = 24  # answers after which the reach does not shrink any more
MOVED = 0.7  # chance that a number of a candidate is another one than the champion's
CURIOSITY = 0.5  # standard deviations that count for a challenger; with 1, time was spent on what nobody likes
CAUTION = 0.3  # standard deviations that count against settings nobody has seen
DIGITS = 4  # of a place: less than a hundredth of a picture's noise


@dataclass(frozen=True)
class Best:
    """The settings that are likely best, and how likely they beat those one started from (0.5: nobody knows)."""

    point: Point
    chance: float


def next_pair(taste: Taste, start: Point, shown: Sequence[Point], rng: np.random.Generator) -> tuple[Point, Point]:
    """The champion, and the candidate that may well beat it by most."""
    champion = _champion(taste, start, shown)
    reach = FIRST_REACH + (LAST_REACH - FIRST_REACH) * min(1.0, len(taste.answers) / SETTLED)
    pool = _around(champion, reach, rng)
    mean, spread = taste.against(pool, champion)
    return _point(champion), _point(pool[int(np.argmax(mean + CURIOSITY * spread))])


def best(taste: Taste, start: Point, shown: Sequence[Point]) -> Best:
    """The champion, and from there uphill, where the model is sure enough of it."""
    found = _champion(taste, start, shown)
    rng = np.random.default_rng(0)  # the same answers have the same best
    for reach in (0.4, 0.2, 0.1, 0.05):
        pool = np.concatenate([found[None], _around(found, reach, rng)])
        mean, spread = taste.against(pool, found)
        found = pool[int(np.argmax(mean - CAUTION * spread))]
    return Best(_point(found), taste.chance(found, np.array(start)))


def _champion(taste: Taste, start: Point, shown: Sequence[Point]) -> Points:
    known = np.array([start, *shown])
    mean, _ = taste.against(known, known[0])
    champion: NDArray[np.float64] = known[int(np.argmax(mean))]
    return champion


def _around(center: Points, reach: float, rng: np.random.Generator) -> Points:
    """Candidates [n, d] in the unit cube; each has at least one number that is not ``center``'s [d]."""
    shape = (CANDIDATES, len(center))
    moved = rng.random(shape) < MOVED
    moved[np.arange(CANDIDATES), rng.integers(len(center), size=CANDIDATES)] = True
    far = reach * rng.choice((0.5, 1.0, 1.5), (CANDIDATES, 1))
    places: NDArray[np.float64] = np.clip(center + moved * far * rng.uniform(-1, 1, shape), 0, 1)
    return places


def _point(places: Points) -> Point:
    return tuple(round(float(place), DIGITS) for place in places)
