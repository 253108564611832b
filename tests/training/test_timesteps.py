"""Which noise levels are drawn, and how often."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from lib_lora.training.config import TrainConfig
from lib_lora.training.timesteps import density, spread_timesteps, timesteps

UNIFORM = TrainConfig(seed=0)
CASES = [
    ("uniform", 0.0, 1.0),
    ("logit-normal", 0.0, 1.0),
    ("logit-normal", 1.0, 0.5),
    ("sigmoid", 8.0, 0.5),
    ("sigmoid", -8.0, 0.3),
    ("beta", 2.0, 5.0),
    ("beta", 1.0, 1.0),
    ("beta", 0.5, 0.5),
]


def drawn(config: TrainConfig, count: int = 20000) -> torch.Tensor:
    return torch.cat([timesteps(count // 10, 1000, config, step) for step in range(10)])


@pytest.mark.parametrize(("low", "high"), [(0, 1000), (200, 700)])
@pytest.mark.parametrize(("distribution", "a", "b"), CASES)
def test_draws_follow_the_density_within_the_range(distribution, a, b, low, high):
    changes = {"timestep_distribution": distribution, "timestep_a": a, "timestep_b": b}
    config = replace(UNIFORM, **changes, min_timestep=low, max_timestep=high)
    found = drawn(config)
    expected = density(config, 1000)
    assert found.min() >= low and found.max() < high
    assert expected.sum() == pytest.approx(1) and expected[:low].sum() == expected[high:].sum() == 0
    cumulated = torch.bincount(found, minlength=1000).double().cumsum(0) / len(found)
    assert (cumulated - expected.cumsum(0)).abs().max() < 0.015  # Kolmogorov–Smirnov, 20,000 draws: 1 % at 0.0115


def test_densities_are_the_published_ones():
    x = (torch.arange(1000, dtype=torch.float64) + 0.5) / 1000
    logit = torch.distributions.TransformedDistribution(
        torch.distributions.Normal(torch.tensor(0.3).double(), 0.8), torch.distributions.SigmoidTransform()
    )
    beta = torch.distributions.Beta(torch.tensor(2.0).double(), torch.tensor(5.0).double())
    for name, a, b, known in (("logit-normal", 0.3, 0.8, logit), ("beta", 2.0, 5.0, beta)):
        ours = density(replace(UNIFORM, timestep_distribution=name, timestep_a=a, timestep_b=b), 1000)
        assert torch.allclose(ours * 1000, known.log_prob(x).exp(), rtol=2e-3, atol=1e-6)


def test_a_function_of_seed_and_step():
    config = replace(UNIFORM, timestep_distribution="logit-normal")
    assert torch.equal(timesteps(8, 1000, config, 3), timesteps(8, 1000, config, 3))
    assert not torch.equal(timesteps(8, 1000, config, 3), timesteps(8, 1000, config, 4))


def test_fixed_timesteps_are_kohyas():
    assert spread_timesteps(4, 1000) == [200, 400, 600, 800]
