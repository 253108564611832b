"""What is measured in a step."""

from __future__ import annotations

import torch

from lib_lora.training.meter import Meter


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
