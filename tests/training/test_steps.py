"""The learning rate of a step, and what is measured in it."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lib_lora.training.lr_schedule import lr_factor
from lib_lora.training.meter import Meter


@given(st.sampled_from(["constant", "constant_with_warmup", "cosine"]), st.integers(1, 300), st.floats(0, 0.5))
def test_every_schedule_gives_every_step_a_rate(schedule, total, warmup):
    factors = [lr_factor(schedule, step, total, warmup) for step in range(total)]
    assert all(0 < factor <= 1 for factor in factors)


def test_cosine_with_warmup():
    factors = [lr_factor("cosine", step, 100, 0.1) for step in range(101)]
    assert factors[0] == 0.1 and factors[9] == 1 and factors[10] == 1
    assert factors[55] == pytest.approx(0.5) and factors[100] == pytest.approx(0)
    assert factors[10:] == sorted(factors[10:], reverse=True)


def test_constant_stays():
    assert lr_factor("constant", 0, 10, 0.5) == lr_factor("constant_with_warmup", 5, 10, 0.5) == 1


def test_meter_reads_everything_once():
    meter = Meter(torch.device("cpu"))
    for step in (7, 8):
        meter.add(step, 0.1 * step, torch.tensor(step / 2), torch.tensor(1.0))
    readings = meter.read()
    assert [(r.step, r.loss, r.grad_norm) for r in readings] == [(7, 3.5, 1.0), (8, 4.0, 1.0)]
    assert meter.last == 4.0 and meter.read() == [] and not meter.due


def test_meter_names_what_broke():
    meter = Meter(torch.device("cpu"))
    meter.add(1, 0.1, torch.tensor(1.0), torch.tensor(float("inf")))
    meter.add(2, 0.1, torch.tensor(float("nan")), torch.tensor(1.0))
    assert [r.broken for r in meter.read()] == ["gradient", "loss"]
