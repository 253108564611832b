"""What is random in a training step: noise and timesteps, each a function of (seed, micro-step)."""

from __future__ import annotations

import torch
from torch import Tensor

from lib_lora.training.randomness import torch_generator


def noise_like(latents: Tensor, seed: int, step: int, offset: float = 0.0) -> Tensor:
    """Standard normal noise shaped and placed as ``latents`` [B,C,h,w], drawn on the CPU.

    Args:
        offset: adds ``offset · randn`` that is constant over each channel of each sample, so the model also learns the
            mean brightness (N. Guttenberg, "Diffusion with offset noise", 2023).
    """
    generator = torch_generator(seed, "noise", step)
    noise = torch.randn(latents.shape, generator=generator)
    if offset:
        noise += offset * torch.randn(*latents.shape[:2], 1, 1, generator=generator)
    return noise.to(latents.device)


def timesteps(count: int, total: int, seed: int, step: int) -> Tensor:
    """``count`` integers [B], uniform in [0, total)."""
    return torch.randint(total, (count,), generator=torch_generator(seed, "timestep", step))


def spread_timesteps(count: int, total: int) -> list[int]:
    """``count`` evenly spaced timesteps, away from both ends: 4 of 1000 are 200, 400, 600, 800 (as in kohya)."""
    return [round(total * (i + 1) / (count + 1)) for i in range(count)]
