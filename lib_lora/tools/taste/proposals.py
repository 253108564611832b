"""Which two settings to compare next, and which are best by now.

Both lie around the best by now, on opposite sides of it. Of many such pairs the one is asked about that is worth it
and unsure: half the sum of what both are worth, and standard deviations of their difference, which an answer tells
about. It says which way is up in several dimensions at once (as the two measurements of Spall, *Multivariate Stochastic
Approximation Using a Simultaneous Perturbation Gradient Approximation*, 1992), and no lucky picture makes a champion,
as it does where the best by now is compared with one after the other. How far the two are apart shrinks with the
answers (as the trust regions of Eriksson et al., *Scalable Global Optimization via Local Bayesian Optimization*, 2019).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .preference import Points, Taste

Point = tuple[float, ...]

CANDIDATES = 400
FIRST_REACH, LAST_REACH = 0.55, 0.3  # how far both are from the best, at most by half more, along each side
SETTLED = 24  # answers after which the reach does not shrink any more
MOVED = 0.7  # chance that a number of a candidate is another one than the best's
CURIOSITY = 0.5  # standard deviations that count for a pair; with 1, time was spent on what nobody likes
CAUTION = 0.6  # standard deviations of the lead over the start that count against settings
STEPS = (0.4, 0.3, 0.2, 0.1, 0.05)  # reaches of the search for the best, from the start on
DIGITS = 4  # of a place: less than a hundredth of a picture's noise


@dataclass(frozen=True)
class Best:
    """The settings that are likely best, and how likely they beat those one started from (0.5: nobody knows)."""

    point: Point
    chance: float


def next_pair(taste: Taste, start: Point, rng: np.random.Generator) -> tuple[Point, Point]:
    """The two settings."""
    reach = FIRST_REACH + (LAST_REACH - FIRST_REACH) * min(1.0, len(taste.answers) / SETTLED)
    center = _summit(taste, start, rng)
    one = _around(center, reach, rng)
    other = np.clip(2 * center - one, 0, 1)
    worth = taste.lead(one, center[None])[0] + taste.lead(other, center[None])[0]
    chosen = int(np.argmax(worth / 2 + CURIOSITY * taste.lead(one, other)[1]))
    return _point(one[chosen]), _point(other[chosen])


def best(taste: Taste, start: Point) -> Best:
    """The settings that are surest to be better than the start."""
    found = _summit(taste, start, np.random.default_rng(0))  # the same answers have the same best
    return Best(_point(found), taste.chance(found, np.array(start)))


def _summit(taste: Taste, start: Point, rng: np.random.Generator) -> Points:
    """Uphill from the start, as far as the model is sure enough of it. [d]"""
    begun: NDArray[np.float64] = np.array(start)
    found = begun
    for reach in STEPS:
        pool = np.concatenate([found[None], _around(found, reach, rng)])
        mean, spread = taste.lead(pool, begun[None])
        found = pool[int(np.argmax(mean - CAUTION * spread))]
    return found


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
