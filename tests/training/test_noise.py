"""The noise of a step: a function of (seed, step), with the statistics that the formulas promise."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from lib_lora.training.config import TrainConfig
from lib_lora.training.noise import multires, offset, training_noise

PLAIN = TrainConfig(seed=1)
ZEROS = torch.zeros(64, 4, 8, 8)
VARIANTS = {
    "plain": {},
    "offset": {"noise_offset": 0.1},
    "random offset": {"noise_offset": 0.5, "noise_offset_random": True},
    "adaptive": {"noise_offset": 0.1, "adaptive_noise_scale": 0.05},
    "multires": {"multires_iterations": 6},
    "perturbed": {"ip_noise_gamma": 0.1},
    "randomly perturbed": {"ip_noise_gamma": 0.5, "ip_noise_gamma_random": True},
    "nearest": {"nearest_noise": 3},
    "all": {"noise_offset": 0.1, "multires_iterations": 3, "ip_noise_gamma": 0.1},
}


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS)
def test_a_function_of_seed_and_step(changes):
    config = replace(PLAIN, **changes)
    latents = torch.randn(3, 4, 16, 8)
    first, again = training_noise(latents, config, 5), training_noise(latents, config, 5)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert all(part.shape == latents.shape for part in first)
    assert not torch.equal(first[0], training_noise(latents, config, 6)[0])
    assert not torch.equal(first[0], training_noise(latents, replace(config, seed=2), 5)[0])
    assert torch.equal(*first) == (config.ip_noise_gamma == 0)


def test_the_nearest_of_several_noises_is_taken_for_each_sample():
    latents = torch.randn(16, 4, 8, 8, generator=torch.Generator().manual_seed(2))
    drawn = {k: training_noise(latents, replace(PLAIN, nearest_noise=k), 5)[0] for k in (0, 1, 2, 8)}
    assert torch.equal(drawn[0], drawn[1])
    distance = {k: (noise - latents).square().mean(dim=(1, 2, 3)) for k, noise in drawn.items()}
    assert (distance[2] <= distance[1]).all() and (distance[8] <= distance[2]).all()
    kept = (drawn[2] == drawn[1]).all(dim=3).all(dim=2).all(dim=1)
    assert 0 < kept.sum() < 16  # each sample by itself
    assert drawn[8].std() == pytest.approx(1, abs=0.03) and drawn[8].mean().abs() < 0.03  # noise still


def test_offset_is_constant_over_a_channel():
    plain, shifted = (training_noise(ZEROS, replace(PLAIN, noise_offset=o), 5)[0] for o in (0.0, 0.1))
    difference = shifted - plain
    assert difference.std(dim=(2, 3)).max() < 1e-6
    assert difference.mean(dim=(2, 3)).std() == pytest.approx(0.1, rel=0.15)


def test_random_offset_stays_below_its_maximum_and_varies():
    plain = [training_noise(ZEROS, PLAIN, step)[0] for step in range(8)]
    config = replace(PLAIN, noise_offset=0.4, noise_offset_random=True)
    strengths = [(training_noise(ZEROS, config, step)[0] - plain[step]).std().item() for step in range(8)]
    assert 0 <= min(strengths) < 0.15 and 0.25 < max(strengths) < 0.46


@pytest.mark.parametrize(("scale", "expected"), [(0.5, 0.1 + 0.5 * 2), (-0.02, 0.1 - 0.02 * 2), (-1.0, 0.0)])
def test_adaptive_offset_follows_the_mean_of_each_channel(scale, expected):
    x0 = torch.full((1, 2, 4, 4), -2.0)
    plain = offset(x0, 1.0, 0.0, torch.Generator().manual_seed(3))
    drawn = offset(x0, 0.1, scale, torch.Generator().manual_seed(3))
    assert torch.allclose(drawn, expected * plain)


def test_multires_is_whitakers_pyramid():
    noise = torch.randn(2, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    ours = multires(noise, 3, 0.3, torch.Generator().manual_seed(7))
    generator, expected = torch.Generator().manual_seed(7), noise.double()
    for i in range(3):
        r = torch.rand((), generator=generator).item() * 2 + 2
        side = max(1, int(16 / r**i))
        layer = torch.randn(2, 4, side, side, generator=generator)
        layer = torch.nn.Upsample(size=(16, 16), mode="bilinear")(layer)
        expected += layer.double() * 0.3**i
    assert torch.allclose(ours.double(), expected / expected.std(), atol=1e-6)


def test_multires_has_unit_deviation_and_stops_at_one_pixel():
    noise = torch.randn(4, 4, 8, 8)
    coarse = multires(noise, 10, 0.8, torch.Generator().manual_seed(1))
    assert coarse.std() == pytest.approx(1, abs=1e-5)
    assert torch.equal(coarse, multires(noise, 9, 0.8, torch.Generator().manual_seed(1)))


def test_perturbation_changes_the_input_only():
    target, added = training_noise(ZEROS, replace(PLAIN, ip_noise_gamma=0.1), 5)
    assert torch.equal(target, training_noise(ZEROS, PLAIN, 5)[0])
    assert (added - target).std() == pytest.approx(0.1, rel=0.05)
