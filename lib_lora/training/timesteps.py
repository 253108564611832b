"""Which noise levels a step sees, a function of (seed, micro-step)."""

from __future__ import annotations

import torch
from torch import Tensor

from lib_lora.training.config import TrainConfig
from lib_lora.training.randomness import torch_generator


def timesteps(count: int, total: int, config: TrainConfig, step: int) -> Tensor:
    """``count`` integers [B] from [min_timestep, min(max_timestep, total)), drawn as :func:`density` says."""
    generator = torch_generator(config.seed, "timestep", step)
    if config.timestep_distribution == "uniform":
        return torch.randint(config.min_timestep, min(config.max_timestep, total), (count,), generator=generator)
    return torch.multinomial(density(config, total), count, replacement=True, generator=generator)


def density(config: TrainConfig, total: int) -> Tensor:
    """The probability of each of ``total`` timesteps, [total]; the numbers behind the plot, and behind the draws.

    With x from 0 to 1 over the range that is trained: logit-normal, exp(−(logit x − a)²/(2b²)) / (x(1 − x)) (Esser et
    al., "Scaling Rectified Flow Transformers", 2024); sigmoid, 1/(1 + exp(−a(x − b))); beta, x^(a−1)·(1 − x)^(b−1).
    """
    low, high = config.min_timestep, min(config.max_timestep, total)
    x = (torch.arange(high - low, dtype=torch.float64) + 0.5) / (high - low)
    a, b = config.timestep_a, config.timestep_b
    if config.timestep_distribution == "logit-normal":
        weights = torch.exp(-(torch.logit(x) - a).square() / (2 * b * b)) / (x * (1 - x))
    elif config.timestep_distribution == "sigmoid":
        weights = torch.sigmoid(a * (x - b))
    elif config.timestep_distribution == "beta":
        weights = x ** (a - 1) * (1 - x) ** (b - 1)
    else:
        weights = torch.ones_like(x)
    result = torch.zeros(total, dtype=torch.float64)
    result[low:high] = weights / weights.sum()
    return result


def spread_timesteps(count: int, total: int) -> list[int]:
    """``count`` evenly spaced timesteps, away from both ends: 4 of 1000 are 200, 400, 600, 800 (as in kohya)."""
    return [round(total * (i + 1) / (count + 1)) for i in range(count)]
