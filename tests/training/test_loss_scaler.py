from __future__ import annotations

import pytest
import torch

from lib_lora.training.loss_scaler import FIRST_SCALE, GROW_AFTER, LossScaler


@pytest.fixture
def optimizer():
    return torch.optim.AdamW([torch.nn.Parameter(torch.ones(3))])


def test_switched_off_it_does_nothing(optimizer):
    scaler = LossScaler(optimizer, on=False)
    assert scaler.scale == 1 and "loss_scale" not in optimizer.param_groups[0]
    assert scaler.accepts(torch.tensor(float("inf")))


def test_an_overflow_halves_the_scale_and_many_good_steps_double_it(optimizer):
    scaler = LossScaler(optimizer, on=True)
    assert not scaler.accepts(torch.tensor(float("inf"))) and scaler.scale == FIRST_SCALE / 2
    assert not scaler.accepts(torch.tensor(float("nan"))) and scaler.scale == FIRST_SCALE / 4
    for _ in range(GROW_AFTER):
        assert scaler.accepts(torch.tensor(1.0))
    assert scaler.scale == FIRST_SCALE / 2


def test_gradients_that_stay_broken_are_let_through_to_be_reported(optimizer):
    scaler = LossScaler(optimizer, on=True)
    refused = 0
    while not scaler.accepts(torch.tensor(float("nan"))):
        refused += 1
    assert refused == 17  # 65536 = 2¹⁶, and once at 1


def test_gradients_come_back_to_size(optimizer):
    scaler = LossScaler(optimizer, on=True)
    parameter = optimizer.param_groups[0]["params"][0]
    (parameter.sum() * 1e-7 * scaler.scale).backward()
    scaler.unscale([parameter.grad])
    torch.testing.assert_close(parameter.grad, torch.full((3,), 1e-7))


def test_the_scale_is_kept_with_the_optimizer(optimizer):
    LossScaler(optimizer, on=True).accepts(torch.tensor(float("inf")))
    assert LossScaler(optimizer, on=True).scale == FIRST_SCALE / 2
