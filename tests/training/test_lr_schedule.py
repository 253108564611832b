"""Learning-rate schedules against their formulas."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib_lora.errors import UserError
from lib_lora.training.config import TrainConfig
from lib_lora.training.config_groups.optimizer import SCHEDULES
from lib_lora.training.lr_schedule import lr_curve, lr_factor

BASE = TrainConfig(name="x", data_dir="y")


def factors(schedule: str, total: int = 100, **changes) -> list[float]:
    config = replace(BASE, schedule=schedule, **changes)
    return [lr_factor(config, step, total) for step in range(total)]


@given(st.sampled_from(SCHEDULES), st.integers(1, 300), st.floats(0, 0.5), st.integers(1, 9), st.floats(0.5, 2))
def test_every_schedule_gives_every_step_a_rate(schedule, total, warmup, cycles, longer):
    found = factors(schedule, total, warmup=warmup, cycles=cycles, cycle_length_factor=longer, cycle_decay=0.7)
    assert all(0 < factor <= 1 + 1e-12 for factor in found)


@pytest.mark.parametrize("schedule", ["linear", "cosine", "polynomial", "rex", "warmup_stable_decay"])
def test_falling_schedules_rise_first_and_end_at_the_lowest_rate(schedule):
    found = factors(schedule, warmup=0.1, min_lr=0.05)
    assert found[0] == 0.1 and found[9] == found[10] == 1
    assert found[10:] == sorted(found[10:], reverse=True)
    assert lr_factor(replace(BASE, schedule=schedule, min_lr=0.05), 100, 100) == pytest.approx(0.05)


@pytest.mark.parametrize(
    ("schedule", "changes", "formula"),
    [
        ("constant", {"warmup": 0.5}, lambda p: 1),
        ("constant_with_warmup", {}, lambda p: 1),
        ("linear", {}, lambda p: 1 - p),
        ("cosine", {}, lambda p: 0.5 * (1 + math.cos(math.pi * p))),
        ("cosine", {"min_lr": 0.1}, lambda p: 0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * p))),
        ("cosine_with_restarts", {"cycles": 4}, lambda p: 0.5 * (1 + math.cos(math.pi * ((4 * p) % 1)))),
        ("polynomial", {"power": 2.0}, lambda p: (1 - p) ** 2),
        ("rex", {}, lambda p: (1 - p) / ((1 - 0.9) + 0.9 * (1 - p))),
        ("rex_with_restarts", {"cycles": 2, "cycle_decay": 0.5},
         lambda p: 0.5 ** int(2 * p) * (1 - 2 * p % 1) / (0.1 + 0.9 * (1 - 2 * p % 1))),
        ("step", {"cycles": 5, "cycle_decay": 0.5}, lambda p: 0.5 ** int(5 * p + 1e-9)),
        ("inverse_sqrt", {}, lambda p: 1 / math.sqrt((100 * p + 10000) / 10000)),
        ("warmup_stable_decay", {"decay_share": 0.5},
         lambda p: 1 if p < 0.5 else 0.5 * (1 + math.cos(math.pi * (2 * p - 1)))),
    ],
)  # fmt: skip
def test_formulas(schedule, changes, formula):
    expected = [formula(step / 100) for step in range(100)]
    assert factors(schedule, **changes) == pytest.approx(expected)


def test_inverse_square_root_falls_from_the_warmup():
    found = factors("inverse_sqrt", warmup=0.25)
    assert found[24] == found[25] == 1 and found[99] == pytest.approx(math.sqrt(25 / 99))


def test_cycles_grow_and_warm_up_each():
    found = factors("rex_with_restarts", 120, cycles=3, cycle_length_factor=2.0, warmup=0.1, cycle_decay=0.5)
    starts = [0, 17, 51]  # 120 = 17 + 34 + 69, as 1 : 2 : 4
    peaks = [max(found[a:b]) for a, b in zip(starts, [*starts[1:], 120], strict=True)]
    assert peaks == [1, 0.5, 0.25]
    assert all(found[start] < peak for start, peak in zip(starts, peaks, strict=True))


def test_curve_has_both_ends():
    curve = lr_curve(BASE, 1000, points=50)
    assert len(curve) == 50 and curve[0][0] == 0 and curve[-1][0] == 999
    assert lr_curve(BASE, 1) == [(0, 1.0)]


def test_a_step_schedule_that_never_falls_is_refused():
    with pytest.raises(UserError, match="never fall"):
        replace(BASE, schedule="step").check()
