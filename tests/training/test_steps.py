"""The arithmetic of a step: learning rate, noise, timesteps, loss."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lib_lora.models.schedule import NoiseSchedule
from lib_lora.training.losses import denoising_loss, min_snr_weight
from lib_lora.training.lr_schedule import lr_factor
from lib_lora.training.meter import Meter
from lib_lora.training.noise import noise_like, spread_timesteps, timesteps

SCHEDULE = NoiseSchedule()


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


def test_noise_is_a_function_of_seed_and_step():
    latents = torch.zeros(2, 4, 8, 8)
    assert torch.equal(noise_like(latents, 1, 5), noise_like(latents, 1, 5))
    assert not torch.equal(noise_like(latents, 1, 5), noise_like(latents, 1, 6))
    assert not torch.equal(noise_like(latents, 1, 5), noise_like(latents, 2, 5))


def test_noise_offset_is_constant_over_a_channel():
    latents = torch.zeros(64, 4, 8, 8)
    difference = noise_like(latents, 1, 5, offset=0.1) - noise_like(latents, 1, 5)
    assert difference.std(dim=(2, 3)).max() < 1e-6
    assert difference.mean(dim=(2, 3)).std() == pytest.approx(0.1, rel=0.15)


def test_timesteps_cover_the_schedule():
    drawn = torch.cat([timesteps(64, 1000, 0, step) for step in range(64)])
    assert drawn.min() >= 0 and drawn.max() <= 999
    assert drawn.float().mean() == pytest.approx(499.5, abs=15)


def test_fixed_timesteps_are_kohyas():
    assert spread_timesteps(4, 1000) == [200, 400, 600, 800]


@pytest.mark.parametrize("prediction", ["epsilon", "v"])
def test_min_snr_weight(prediction):
    snr = torch.tensor([0.5, 5.0, 50.0])
    expected = {"epsilon": [1.0, 1.0, 0.1], "v": [1 / 3, 5 / 6, 5 / 51]}[prediction]
    assert min_snr_weight(snr, 5.0, prediction).tolist() == pytest.approx(expected)


@pytest.mark.parametrize("prediction", ["epsilon", "v"])
def test_loss_of_a_perfect_and_of_a_zero_prediction(prediction):
    x0, noise = torch.randn(3, 4, 8, 8), torch.randn(3, 4, 8, 8)
    t = torch.tensor([10, 500, 990])
    target = SCHEDULE.target(prediction, x0, noise, t)
    assert denoising_loss(target, x0, noise, t, SCHEDULE, prediction, 5.0).tolist() == [0, 0, 0]
    plain = denoising_loss(torch.zeros_like(x0), x0, noise, t, SCHEDULE, prediction)
    assert torch.allclose(plain, target.square().mean(dim=(1, 2, 3)))
    weighted = denoising_loss(torch.zeros_like(x0), x0, noise, t, SCHEDULE, prediction, 5.0)
    assert torch.allclose(weighted, plain * min_snr_weight(SCHEDULE.snr(t), 5.0, prediction))


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
