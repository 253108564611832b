"""What a user likes, learned from comparisons: a Gaussian process over settings, numpy only.

Chu and Ghahramani, *Preference Learning with Gaussian Processes* (2005), with two additions: "no difference" is an
answer (the ordered probit of Glenn and David, *Ties in paired-comparison experiments*, 1960), and an answer may be a
slip. Where they have a latent value for each setting, here is one for each answer, the difference that it judges: as
many as there are answers, and none singular. Laplace's approximation as in Rasmussen and Williams, *Gaussian Processes
for Machine Learning* (2006), algorithms 3.1 and 3.2.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]  # [n, d], settings in the unit cube
Values = NDArray[np.float64]  # [n]

FIRST, SECOND, EQUAL = 1, -1, 0  # what an answer says is better
ITERATIONS, CLOSE = 60, 1e-6
LEAST_CURVATURE = 1e-3  # where a slip is likelier than the answer, the likelihood bends the wrong way
PULL = 1.5  # how much lower the values of a corner are taken to be than that of the middle, before any answer
ADDITIVE, ALONE = 0.85, 0.5  # share of the part that is a sum over dimensions, and its length


@dataclass(frozen=True)
class Answer:
    """``better`` is one of FIRST, SECOND and EQUAL; the two are points of the unit cube."""

    first: tuple[float, ...]
    second: tuple[float, ...]
    better: int


@dataclass(frozen=True)
class Habits:
    """How a user answers; the values of settings have a standard deviation of 1.

    Args:
        length: over which values change, of the side of a unit cube of d dimensions times √d, as distances grow.
        noise: standard deviation of what one picture adds to the value of its settings.
        tie: differences below are seen as none; in units of ``noise``.
        slip: share of answers that say nothing.
    """

    length: float = 0.46
    noise: float = 0.5
    tie: float = 0.5
    slip: float = 0.06


class Taste:
    """The posterior over values of settings, given answers.

    Args:
        answers: all of the same number of dimensions; none is allowed.
        dimensions: of the unit cube.
        habits: of the user. They are not learned: two dozen answers fit wild habits as well as usual ones, and the
            likeliest found worse settings than fixed ones did.
    """

    def __init__(self, answers: Sequence[Answer], dimensions: int, habits: Habits | None = None):
        self.answers = list(answers)
        self.habits = habits or Habits()
        self.length = self.habits.length * math.sqrt(dimensions)
        shape = (len(self.answers), dimensions)
        self._first = np.array([a.first for a in self.answers], dtype=float).reshape(shape)
        self._second = np.array([a.second for a in self.answers], dtype=float).reshape(shape)
        self._better = np.array([a.better for a in self.answers], dtype=int)
        self._expected = _pulled(self._first) - _pulled(self._second)
        self._fitted = _fit(self)

    def values(self, points: Points) -> tuple[Values, NDArray[np.float64]]:
        """Mean [n] and covariance [n, n] of the values of ``points`` [n, d]."""
        length = self.length
        prior = kernel(points, points, length)
        if not self.answers:
            return _pulled(points), prior
        across = kernel(points, self._first, length) - kernel(points, self._second, length)
        fit = self._fitted
        solved = np.linalg.solve(fit.root, fit.sharpness[:, None] * across.T)
        covariance: NDArray[np.float64] = prior - solved.T @ solved
        return _pulled(points) + across @ fit.slope, covariance

    def lead(self, points: Points, others: Points) -> tuple[Values, Values]:
        """How much more than the values of ``others`` those of ``points`` are, one by one: mean and standard deviation
        [n]; ``points`` are [n, d], ``others`` too or [1, d]."""
        spread = 2 - 2 * _similar(np.square(points - others), self.length)
        mean = _pulled(points) - _pulled(others)
        if self.answers:
            first, second, length = self._first, self._second, self.length
            across = kernel(points, first, length) - kernel(points, second, length)
            across = across - kernel(others, first, length) + kernel(others, second, length)
            solved = np.linalg.solve(self._fitted.root, self._fitted.sharpness[:, None] * across.T)
            mean, spread = mean + across @ self._fitted.slope, spread - np.square(solved).sum(0)
        return mean, np.sqrt(np.maximum(spread, 0))

    def chance(self, one: Points, other: Points) -> float:
        """Probability that the settings ``one`` [d] are better than ``other`` [d]; 0.5 where they are the same."""
        mean, covariance = self.values(np.stack([one, other]))
        spread = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
        return float(cdf((mean[0] - mean[1]) / math.sqrt(max(spread, 1e-12)))) if spread > 1e-9 else 0.5

    def gram(self) -> NDArray[np.float64]:
        """Prior covariance [m, m] of the judged differences."""
        a, b, length = self._first, self._second, self.length
        mixed = kernel(a, b, length)
        gram: NDArray[np.float64] = kernel(a, a, length) + kernel(b, b, length) - mixed - mixed.T
        return gram

    def likelihood(self, difference: Values) -> tuple[float, Values, Values]:
        """Log likelihood of the answers, its slope, and its curvature (at least a little), by each difference, which
        is given as what differs from what one expects."""
        habits = self.habits
        difference = difference + self._expected
        scale = math.sqrt(2) * habits.noise
        edge = habits.tie * habits.noise
        sign = np.where(self._better == EQUAL, 1, self._better)
        upper = (sign * difference - edge) / scale  # of a preference: how far beyond the border of "no difference"
        high, low = (difference + edge) / scale, (difference - edge) / scale
        ties = self._better == EQUAL
        plain = np.where(ties, cdf(high) - cdf(low), cdf(upper))
        first = np.where(ties, _pdf(high) - _pdf(low), sign * _pdf(upper)) / scale
        second = np.where(ties, low * _pdf(low) - high * _pdf(high), -upper * _pdf(upper)) / scale**2
        chance = (1 - habits.slip) * plain + habits.slip / 3
        slope = (1 - habits.slip) * first / chance
        curvature = slope**2 - (1 - habits.slip) * second / chance
        return float(np.log(chance).sum()), slope, np.maximum(curvature, LEAST_CURVATURE)


@dataclass(frozen=True)
class _Fit:
    """Laplace's approximation: ``slope`` of the log likelihood at the mode, the roots of its curvature, and the
    Cholesky factor of I + W½ G W½."""

    slope: Values
    sharpness: Values
    root: NDArray[np.float64]


def _fit(taste: Taste) -> _Fit:
    """Newton's method for the mode, with steps that are halved as long as they lead down."""
    gram = taste.gram()
    weights = np.zeros(len(gram))  # the mode is gram @ weights
    best, slope, curvature = taste.likelihood(gram @ weights)
    for _ in range(ITERATIONS):
        root, sharpness = _factor(gram, curvature)
        wanted = curvature * (gram @ weights) + slope
        inner = np.linalg.solve(root, sharpness * (gram @ wanted))
        target = wanted - sharpness * np.linalg.solve(root.T, inner)
        step, before = 1.0, best
        while step > CLOSE:
            tried = weights + step * (target - weights)
            logp, new_slope, new_curvature = taste.likelihood(gram @ tried)
            if (reached := logp - float(tried @ gram @ tried) / 2) >= before:
                weights, best, slope, curvature = tried, reached, new_slope, new_curvature
                break
            step /= 2
        if best - before < CLOSE:
            break
    root, sharpness = _factor(gram, curvature)
    return _Fit(slope, sharpness, root)


def _factor(gram: NDArray[np.float64], curvature: Values) -> tuple[NDArray[np.float64], Values]:
    sharpness = np.sqrt(curvature)
    inner = np.eye(len(gram)) + sharpness[:, None] * gram * sharpness
    return np.asarray(np.linalg.cholesky(inner), dtype=float), np.asarray(sharpness, dtype=float)


def kernel(a: Points, b: Points, length: float) -> NDArray[np.float64]:
    """Covariance [n, m] of points [n, d] and [m, d]: mostly a sum over dimensions, as what each does by itself is seen
    after few answers, and a squared exponential of all together."""
    return _similar(np.square(a[:, None, :] - b[None, :, :]), length)


def _similar(squares: NDArray[np.float64], length: float) -> NDArray[np.float64]:
    """Covariance [...] by squared differences along each side [..., d]."""
    alone = np.exp(-squares / (2 * ALONE**2)).mean(-1)
    together = np.exp(-squares.sum(-1) / (2 * length**2))
    covariance: NDArray[np.float64] = ADDITIVE * alone + (1 - ADDITIVE) * together
    return covariance


def _pulled(points: Points) -> Values:
    """What values of points [n, d] one expects: who tunes starts from something sensible, in the middle."""
    return np.asarray(-PULL * np.square(2 * points - 1).mean(-1), dtype=float)


def cdf(x: NDArray[np.float64] | float) -> NDArray[np.float64]:
    """The normal distribution's."""
    return np.array([0.5 * math.erfc(-value / math.sqrt(2)) for value in np.ravel(x)]).reshape(np.shape(x))


def _pdf(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.exp(-np.square(x) / 2) / math.sqrt(2 * math.pi), dtype=float)
