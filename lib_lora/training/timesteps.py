"""Which noise levels a step sees, a function of (seed, micro-step)."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from lib_lora.models.schedule import resolution_shift, shifted
from lib_lora.randomness import torch_generator
from lib_lora.training.config import TrainConfig


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


def flow_times(latents: Tensor, total: int, config: TrainConfig, step: int) -> Tensor:
    """Times [B] between whole timesteps for a rectified flow, float32, for ``latents`` [B,C,h,w].

    σ from 0 to 1 is drawn as :func:`density` says, shifted, and laid over the range that is trained.
    """
    generator = torch_generator(config.seed, "timestep", step)
    bins = torch.multinomial(_over_all(config, total), len(latents), replacement=True, generator=generator)
    sigma = (bins + torch.rand(len(latents), generator=generator, dtype=torch.float64)) / total
    low, high = config.min_timestep, min(config.max_timestep, total)
    return (low + (high - low) * shifted(sigma, flow_shift(config, latents.shape[-2], latents.shape[-1]))).float()


def flow_shift(config: TrainConfig, height: int, width: int) -> float:
    """The shift for latents of this size: the setting, or at 0 that which follows the resolution."""
    return config.flow_shift or resolution_shift(height * width // 4)


def flow_density(config: TrainConfig, total: int, height: int, width: int) -> Tensor:
    """The probability that :func:`flow_times` draws a time in each of ``total`` steps, [total]."""
    low, high = config.min_timestep, min(config.max_timestep, total)
    shift = flow_shift(config, height, width)
    cumulative = torch.cat([torch.zeros(1, dtype=torch.float64), _over_all(config, total).cumsum(0)])
    edges = torch.linspace(0, 1, high - low + 1, dtype=torch.float64)
    place = shifted(edges, 1 / shift) * total  # where the edge was before the shift
    before = place.floor().clamp(max=total - 1).long()
    reached = cumulative[before] + (place - before) * (cumulative[before + 1] - cumulative[before])
    result = torch.zeros(total, dtype=torch.float64)
    result[low:high] = reached.diff()
    return result


def _over_all(config: TrainConfig, total: int) -> Tensor:
    return density(replace(config, min_timestep=0, max_timestep=total), total)


def spread_timesteps(count: int, total: int) -> list[int]:
    """``count`` evenly spaced timesteps, away from both ends: 4 of 1000 are 200, 400, 600, 800 (as in kohya)."""
    return [round(total * (i + 1) / (count + 1)) for i in range(count)]
