"""The best mixture of epochs: the algebra, and on a small run."""

from __future__ import annotations

import numpy as np
import pytest

from lib_lora.tools.mixture import bottom, lowest, named


def test_the_lowest_of_a_simplex_is_found() -> None:
    r = np.random.default_rng(0)
    for _ in range(20):
        factors = r.normal(size=(6, 5))
        gram = factors @ factors.T + 0.05 * np.eye(6)
        found = lowest(gram, parts=3)
        assert found.min() >= 0 and found.sum() == pytest.approx(1) and (found[1:] > 0).sum() <= 3
        best = found @ gram @ found
        for _ in range(300):
            c = np.zeros(6)
            support = [0, *r.choice(np.arange(1, 6), 3, replace=False)]
            c[support] = r.dirichlet(np.ones(4))
            assert c @ gram @ c >= best - 1e-12


def test_one_epoch_alone_may_be_the_best() -> None:
    gram = np.diag([9.0, 9.0, 1.0]) + np.ones((3, 3))
    gram[2, 2] = 0.5  # less than what it shares with the others: any mixture would be worse
    assert named(lowest(gram), [3, 7]) == {7: 1.0}


def test_a_parabola_has_its_bottom() -> None:
    assert bottom([0, 1, 0.5, 1.5], [(x - 0.8) ** 2 for x in (0, 1, 0.5, 1.5)]) == pytest.approx(0.8)
    assert bottom([0, 1, 0.5, 1.5], [(x - 9) ** 2 for x in (0, 1, 0.5, 1.5)]) == 2.0
    assert bottom([0, 1, 0.5, 1.5], [-(x**2) for x in (0, 1, 0.5, 1.5)]) == 1.5
    assert bottom([0, 1, 0.5], [2.0, np.inf, 1.0]) == 0.5  # an epoch that gives no number is not proposed again
