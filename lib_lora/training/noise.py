"""The noise of a training step, a function of (seed, micro-step)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from lib_lora.models.schedule import FlowSchedule, Schedule
from lib_lora.models.transfer import sent
from lib_lora.randomness import rng, torch_generator
from lib_lora.training.config import TrainConfig
from lib_lora.training.timesteps import flow_times, timesteps


@dataclass(frozen=True)
class NoiseDraw:
    """Where the samples of a batch stand between picture and noise.

    Attributes:
        t: timesteps [B]; between whole ones for a rectified flow.
        noise: [B,C,h,w], what the target is made with.
        added: [B,C,h,w], what is in the model's input; another one than ``noise`` with input perturbation only.
    """

    t: Tensor
    noise: Tensor
    added: Tensor

    def part(self, samples: slice) -> NoiseDraw:
        """That of some of the samples."""
        return NoiseDraw(self.t[samples], self.noise[samples], self.added[samples])

    def on(self, device: torch.device | str) -> NoiseDraw:
        """The same on ``device``, without waiting for it."""
        noise = sent(self.noise, device)
        return NoiseDraw(sent(self.t, device), noise, noise if self.added is self.noise else sent(self.added, device))


def draw_noise(latents: Tensor, config: TrainConfig, schedule: Schedule, step: int) -> NoiseDraw:
    """The noise and the timesteps of micro-step ``step``, for ``latents`` [B,C,h,w] in main memory."""
    noise, added = training_noise(latents, config, step)
    if isinstance(schedule, FlowSchedule):
        t = flow_times(latents, len(schedule), config, step)
    else:
        t = timesteps(len(latents), len(schedule), config, step)
    return NoiseDraw(t, noise, added)


def training_noise(latents: Tensor, config: TrainConfig, step: int) -> tuple[Tensor, Tensor]:
    """(what the model must predict, what is added to its input), shaped as ``latents`` [B,C,h,w] in main memory.

    They differ by the input perturbation only. Everything is drawn on the CPU, in kohya's order: normal noise (or the
    nearest of several), offset, multi-resolution layers.
    """
    generator = torch_generator(config.seed, "noise", step)
    noise = nearest(latents, config.nearest_noise, generator)
    if config.noise_offset:
        strength = _strength(config.noise_offset, config.noise_offset_random, config.seed, "noise-offset", step)
        noise = noise + offset(latents, strength, config.adaptive_noise_scale, generator)
    if config.multires_iterations:
        noise = multires(noise, config.multires_iterations, config.multires_discount, generator)
    added = noise
    if config.ip_noise_gamma:
        gamma = _strength(config.ip_noise_gamma, config.ip_noise_gamma_random, config.seed, "ip-noise", step)
        added = noise + gamma * torch.randn(latents.shape, generator=generator)
    return noise, added


def nearest(x0: Tensor, draws: int, generator: torch.Generator) -> Tensor:
    """Of ``draws`` normal noises for each sample of ``x0`` [B,C,h,w] the one nearest to it; the first of one or none.

    Pictures then share less of the noise that leads to them, so that the model has less to tell apart. Source: Li et
    al., "Improved Immiscible Diffusion", 2025, arXiv:2505.18521, its KNN (distance by mean square, over all channels).
    """
    best = torch.randn(x0.shape, generator=generator)
    for _ in range(1, draws):
        other = torch.randn(x0.shape, generator=generator)
        nearer = (other - x0).square().sum(dim=(1, 2, 3)) < (best - x0).square().sum(dim=(1, 2, 3))
        best = torch.where(nearer[:, None, None, None], other, best)
    return best


def offset(x0: Tensor, strength: float, adaptive: float, generator: torch.Generator) -> Tensor:
    """Noise that is constant over each channel of each sample, [B,C,1,1]: the model learns the mean brightness too.

    Source: N. Guttenberg, "Diffusion with offset noise", 2023. The strength is max(0, o + a·|mean of the channel|),
    kohya's adaptive noise scale a.
    """
    drawn = torch.randn(*x0.shape[:2], 1, 1, generator=generator)
    if adaptive:
        means = x0.float().mean(dim=(2, 3), keepdim=True).abs()
        return (strength + adaptive * means).clamp(min=0) * drawn
    return strength * drawn


def multires(noise: Tensor, iterations: int, discount: float, generator: torch.Generator) -> Tensor:
    """``noise`` plus ever coarser layers of it, with a standard deviation of 1 over the batch.

    Layer i has strength discount^i and 1/r^i of the size, r drawn from [2, 4) anew each time. Source: J. Whitaker,
    "Multi-Resolution Noise for Diffusion Model Training", 2023.
    """
    height, width = noise.shape[2:]
    for i in range(iterations):
        shrink = (2 + 2 * torch.rand((), generator=generator).item()) ** i
        size = (max(1, int(height / shrink)), max(1, int(width / shrink)))
        layer = torch.randn(*noise.shape[:2], *size, generator=generator)
        noise = noise + discount**i * F.interpolate(layer, (height, width), mode="bilinear")
        if 1 in size:
            break
    return noise / noise.std()


def _strength(most: float, random: bool, seed: int, stream: str, step: int) -> float:
    """``most``, or a draw from [0, most) for this step."""
    return most * rng(seed, stream, step).random() if random else most
