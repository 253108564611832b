"""Losses and gradients against the published formulas, evaluated independently in float64."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch

from lib_lora.errors import UserError
from lib_lora.models.schedule import NoiseSchedule, zero_terminal_alphas
from lib_lora.training.config import TrainConfig
from lib_lora.training.losses import DenoisingLoss

PLAIN = TrainConfig(min_snr_gamma=0.0)
SCHEDULE = NoiseSchedule()
ZERO_TERMINAL = NoiseSchedule(zero_terminal_alphas(SCHEDULE.alphas_cumprod))
T = np.array([3, 250, 700, 990])


def alphas64(zero_terminal: bool = False) -> np.ndarray:
    """ᾱ of Stable Diffusion from its definition; with Lin et al.'s algorithm 1 if ``zero_terminal``."""
    alphas = np.cumprod(1 - np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2)
    if not zero_terminal:
        return alphas
    root = np.sqrt(alphas)
    first, last = root[0], root[-1]
    root = (root - last) * (first / (first - last))
    return root**2


def reference(config, prediction, predicted, x0, noise, t, zero_terminal=False, old_snr=False):
    """(loss [B], d loss.sum / d predicted) in float64, formula by formula as published."""
    alphas = alphas64(zero_terminal)[t][:, None, None, None]
    target = np.sqrt(alphas) * noise - np.sqrt(1 - alphas) * x0 if prediction == "v" else noise
    d = predicted - target
    c = reference_width(config, alphas, t)
    error = {
        "l2": lambda: d**2,
        "l1": lambda: abs(d),
        "huber": lambda: 2 * c * (np.sqrt(d**2 + c**2) - c),
        "smooth_l1": lambda: 2 * (np.sqrt(d**2 + c**2) - c),
    }[config.loss_type]()
    slope = {
        "l2": lambda: 2 * d,
        "l1": lambda: np.sign(d),
        "huber": lambda: 2 * c * d / np.sqrt(d**2 + c**2),
        "smooth_l1": lambda: 2 * d / np.sqrt(d**2 + c**2),
    }[config.loss_type]()
    weights = np.array([reference_weight(config, prediction, a) for a in alphas64(zero_terminal and not old_snr)[t]])
    return weights * error.mean((1, 2, 3)), weights[:, None, None, None] * slope / d[0].size


def reference_width(config, alphas, t):
    if config.huber_schedule == "constant":
        return config.huber_c * config.huber_scale
    if config.huber_schedule == "exponential":
        return np.exp(-t * (-math.log(config.huber_c) / 1000))[:, None, None, None] * config.huber_scale
    sigma = np.sqrt(1 - alphas) / np.sqrt(alphas)
    return (1 - config.huber_c) / (1 + sigma) ** 2 + config.huber_c


def reference_weight(config, prediction, alpha) -> float:
    snr = alpha / (1 - alpha)
    capped = min(snr, 1000)
    weight = 1.0
    if config.min_snr_gamma:
        ratio = min(snr, config.min_snr_gamma)
        weight *= ratio / snr if prediction == "epsilon" else ratio / (snr + 1)
    if config.scale_v_pred_loss:
        weight *= capped / (capped + 1)
    if config.v_pred_like_loss:
        weight *= 1 + config.v_pred_like_loss / (capped / (capped + 1))
    if config.debiased_estimation:
        weight *= 1 / math.sqrt(capped) if prediction == "epsilon" else 1 / (capped + 1)
    return weight


def assert_parity(config, prediction, t=T, zero_terminal=False, old_snr=False):
    rng = np.random.default_rng(1)
    predicted, x0, noise = (rng.standard_normal((len(t), 4, 3, 5)) for _ in range(3))
    loss64, gradient64 = reference(config, prediction, predicted, x0, noise, t, zero_terminal, old_snr)
    schedule = ZERO_TERMINAL if zero_terminal else SCHEDULE
    ours = DenoisingLoss(config, schedule, prediction, SCHEDULE if old_snr else None)
    output = torch.tensor(predicted, dtype=torch.float32, requires_grad=True)
    x0, noise, t = torch.tensor(x0).float(), torch.tensor(noise).float(), torch.tensor(t)
    loss = ours(output, schedule.target(prediction, x0, noise, t), t)
    loss.sum().backward()
    np.testing.assert_allclose(loss.detach().numpy(), loss64, rtol=3e-5, atol=1e-7)
    np.testing.assert_allclose(output.grad.numpy(), gradient64, rtol=3e-5, atol=3e-6 * abs(gradient64).max())


HUBER = [
    (kind, schedule, c) for kind in ("huber", "smooth_l1") for schedule in ("snr", "exponential", "constant")
    for c in (0.1, 0.5)
]  # fmt: skip


@pytest.mark.parametrize("prediction", ["epsilon", "v"])
@pytest.mark.parametrize(("kind", "schedule", "c"), HUBER)
def test_huber(kind, schedule, c, prediction):
    config = replace(PLAIN, loss_type=kind, huber_schedule=schedule, huber_c=c, huber_scale=1.7)
    assert_parity(config, prediction)


@pytest.mark.parametrize("prediction", ["epsilon", "v"])
@pytest.mark.parametrize("kind", ["l2", "l1"])
@pytest.mark.parametrize("gamma", [0.0, 1.0, 5.0, 20.0])
def test_min_snr(kind, gamma, prediction):
    assert_parity(replace(PLAIN, loss_type=kind, min_snr_gamma=gamma), prediction)


WEIGHTS = [
    ("epsilon", {"debiased_estimation": True}),
    ("v", {"debiased_estimation": True}),
    ("v", {"scale_v_pred_loss": True}),
    ("v", {"scale_v_pred_loss": True, "min_snr_gamma": 5.0}),
    ("v", {"scale_v_pred_loss": True, "debiased_estimation": True}),
    ("epsilon", {"v_pred_like_loss": 0.1}),
    ("epsilon", {"v_pred_like_loss": 1.0, "min_snr_gamma": 1.0}),
    ("epsilon", {"v_pred_like_loss": 0.5, "debiased_estimation": True, "min_snr_gamma": 5.0}),
]


@pytest.mark.parametrize("kind", ["l2", "huber"])
@pytest.mark.parametrize(("prediction", "changes"), WEIGHTS)
def test_weights(prediction, changes, kind):
    assert_parity(replace(PLAIN, loss_type=kind, **changes), prediction)


@pytest.mark.parametrize("kind", ["l2", "l1", "huber", "smooth_l1"])
@pytest.mark.parametrize(("prediction", "old_snr", "last"), [*product(["epsilon", "v"], [True, False], [998, 999])])
def test_zero_terminal(kind, prediction, old_snr, last):
    config = replace(PLAIN, loss_type=kind, min_snr_gamma=5.0)
    if prediction == "epsilon" and not old_snr and last == 999:
        loss = DenoisingLoss(config, ZERO_TERMINAL, prediction)
        assert loss.weights[999] == 1  # the limit of min(SNR, γ)/SNR, which the reference cannot evaluate
        last = 997
    with np.errstate(divide="ignore"):
        assert_parity(config, prediction, np.array([10, 500, last]), zero_terminal=True, old_snr=old_snr)


def test_zero_terminal_schedule_keeps_the_first_and_zeroes_the_last():
    ours, before = ZERO_TERMINAL.alphas_cumprod, SCHEDULE.alphas_cumprod
    assert ours[-1] == 0 and ours[0] == pytest.approx(before[0].item())
    again = zero_terminal_alphas(ours)
    assert torch.allclose(again, ours)  # a checkpoint that has such a schedule already stays as it is


@pytest.mark.parametrize(
    ("timestep", "before", "after"),
    [(100, 8.45, 7.83), (250, 2.07, 1.88), (500, 0.38, 0.318), (900, 0.0143, 0.0030), (999, 0.0047, 0.0)],
)
def test_known_signal_to_noise_ratios(timestep, before, after):
    t = torch.tensor([timestep])
    assert SCHEDULE.snr(t).item() == pytest.approx(before, rel=6e-3)
    assert ZERO_TERMINAL.snr(t).item() == pytest.approx(after, rel=2e-2, abs=1e-9)


@pytest.mark.parametrize(
    ("prediction", "schedule", "changes", "where"),
    [
        ("epsilon", SCHEDULE, {"scale_v_pred_loss": True}, "scale_v_pred_loss"),
        ("v", SCHEDULE, {"v_pred_like_loss": 0.1}, "v_pred_like_loss"),
        ("epsilon", ZERO_TERMINAL, {"v_pred_like_loss": 0.1}, "v_pred_like_loss"),
        ("epsilon", ZERO_TERMINAL, {"debiased_estimation": True}, "debiased_estimation"),
    ],
)
def test_weights_that_do_not_fit_the_model_are_refused(prediction, schedule, changes, where):
    with pytest.raises(UserError) as caught:
        DenoisingLoss(replace(PLAIN, **changes), schedule, prediction)
    assert caught.value.where == where and caught.value.fix


def test_a_perfect_prediction_costs_nothing():
    target = torch.randn(2, 4, 8, 8)
    for kind in ("l2", "l1", "huber", "smooth_l1"):
        loss = DenoisingLoss(replace(PLAIN, loss_type=kind), SCHEDULE, "epsilon")
        assert loss(target.clone(), target, torch.tensor([0, 999])).tolist() == [0, 0]


@pytest.mark.parametrize(("unmasked", "by_area"), product((0.0, 0.3), (False, True)))
@pytest.mark.parametrize("kind", ["l2", "huber"])
def test_masked_loss(kind, unmasked, by_area):
    """Kohya multiplies the error before its mean; by area, the mean is over what the mask leaves."""
    config = replace(PLAIN, loss_type=kind, unmasked_weight=unmasked, mask_by_area=by_area)
    rng = np.random.default_rng(4)
    predicted, _, noise = rng.normal(size=(3, 4, 4, 8, 8))
    mask = (rng.random((4, 1, 8, 8)) > 0.6).astype(float)
    weights = np.broadcast_to(mask + (1 - mask) * unmasked, predicted.shape)
    alphas = alphas64()[T][:, None, None, None]
    d, c = predicted - noise, reference_width(config, alphas, T)
    error = d**2 if kind == "l2" else 2 * c * (np.sqrt(d**2 + c**2) - c)
    scale = weights.mean((1, 2, 3)) if by_area else 1.0
    expected = (error * weights).mean((1, 2, 3)) / scale
    loss = DenoisingLoss(config, SCHEDULE, "epsilon")
    found = loss(*map(torch.from_numpy, (predicted, noise, T)), torch.from_numpy(mask).float())
    np.testing.assert_allclose(found.numpy(), expected, rtol=2e-5)


def test_an_empty_mask_teaches_nothing():
    config = replace(PLAIN, mask_by_area=True)
    loss = DenoisingLoss(config, SCHEDULE, "epsilon")
    found = loss(torch.ones(1, 4, 8, 8), torch.zeros(1, 4, 8, 8), torch.tensor([3]), torch.zeros(1, 1, 8, 8))
    assert found.item() == 0
