"""What happens to a latent between picture and noise, and what training derives from it.

Notation of Ho et al. 2020 (DDPM) and Salimans & Ho 2022 (v-prediction): x_t = √ᾱ_t·x_0 + √(1−ᾱ_t)·ε. A rectified flow
(Liu et al. 2022; Esser et al. 2024) goes straight: x_σ = (1−σ)·x_0 + σ·ε, and predicts the direction, ε − x_0.
"""

from __future__ import annotations

import math
from typing import Protocol

import torch
from torch import Tensor

STEPS = 1000
BETA_START = 0.00085
BETA_END = 0.012
PURE_NOISE = 1e-6  # ᾱ of a last step that is taken for 0; Stable Diffusion's own is 0.0047


def scaled_linear_alphas(steps: int = STEPS, start: float = BETA_START, end: float = BETA_END) -> Tensor:
    """ᾱ of betas that are linear in their square root, as in ldm: float32 ``[steps]``."""
    betas = torch.linspace(start**0.5, end**0.5, steps, dtype=torch.float64) ** 2
    return torch.cumprod(1 - betas, 0).float()


def zero_terminal_alphas(alphas_cumprod: Tensor) -> Tensor:
    """ᾱ rescaled so that the last is 0 and the first is unchanged; float32 ``[T]``.

    √ᾱ'_t = (√ᾱ_t − √ᾱ_T)·√ᾱ_1 / (√ᾱ_1 − √ᾱ_T). Source: Lin et al., "Common Diffusion Noise Schedules and Sample Steps
    are Flawed", 2023, algorithm 1.
    """
    root = alphas_cumprod.double().sqrt()
    first, last = root[0], root[-1]
    return ((root - last) * first / (first - last)).square().float()


class Schedule(Protocol):
    """How noise is added, and what a model should say about it, at timesteps t [B] from 0 to below ``len()``."""

    def __len__(self) -> int: ...

    def add_noise(self, x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """x_t from clean latents ``[B, …]`` and noise of the same shape."""

    def target(self, prediction: str, x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """What a model of ``prediction`` should output."""

    def snr(self, t: Tensor) -> Tensor:
        """Signal-to-noise ratio, the square of signal over noise."""

    def noise_ratio(self, t: Tensor) -> Tensor:
        """Noise over signal."""


class NoiseSchedule:
    """What happens to a latent at each timestep.

    Args:
        alphas_cumprod: ᾱ, ``[T]``, decreasing; None for Stable Diffusion's scaled-linear schedule of 1000 steps.
        zero_terminal: whether the last step is pure noise (Lin et al. 2023, arXiv:2305.08891).
    """

    def __init__(self, alphas_cumprod: Tensor | None = None):
        self.alphas_cumprod = scaled_linear_alphas() if alphas_cumprod is None else alphas_cumprod.float()
        self.zero_terminal = float(self.alphas_cumprod[-1]) < PURE_NOISE
        self._placed = {self.alphas_cumprod.device: self.alphas_cumprod}

    def __len__(self) -> int:
        return len(self.alphas_cumprod)

    def add_noise(self, x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """x_t from clean latents ``[B, …]``, noise of the same shape and timesteps ``[B]``."""
        signal, sigma = self._scales(t, x0)
        return signal * x0 + sigma * noise

    def velocity(self, x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """v = √ᾱ·ε − √(1−ᾱ)·x_0, what a v-prediction model is trained to output."""
        signal, sigma = self._scales(t, x0)
        return signal * noise - sigma * x0

    def target(self, prediction: str, x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """What a model of ``prediction`` (``"epsilon"`` or ``"v"``) should output."""
        return self.velocity(x0, noise, t) if prediction == "v" else noise

    def snr(self, t: Tensor) -> Tensor:
        """Signal-to-noise ratio ᾱ / (1−ᾱ) at timesteps ``[B]``."""
        alphas = self._on(t.device)[t]
        return alphas / (1 - alphas)

    def noise_ratio(self, t: Tensor) -> Tensor:
        """√((1−ᾱ) / ᾱ) at timesteps ``[B]``."""
        alphas = self._on(t.device)[t]
        return ((1 - alphas) / alphas).sqrt()

    def _scales(self, t: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        alphas = self._on(like.device)[t.to(like.device)]
        alphas = alphas.reshape(-1, *[1] * (like.ndim - 1))
        return alphas.sqrt().to(like.dtype), (1 - alphas).sqrt().to(like.dtype)

    def _on(self, device: torch.device) -> Tensor:
        """ᾱ on ``device``, copied there once."""
        if device not in self._placed:
            self._placed[device] = self.alphas_cumprod.to(device)
        return self._placed[device]


class FlowSchedule:
    """The straight way of a rectified flow: σ = t / T. Timesteps may lie between whole numbers."""

    def __len__(self) -> int:
        return STEPS

    def add_noise(self, x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """x_σ = (1−σ)·x_0 + σ·ε."""
        sigma = (t.to(x0.device, torch.float32) / STEPS).reshape(-1, *[1] * (x0.ndim - 1)).to(x0.dtype)
        return (1 - sigma) * x0 + sigma * noise

    def target(self, prediction: str, x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """ε − x_0, whatever σ is."""
        return noise - x0

    def snr(self, t: Tensor) -> Tensor:
        """((1−σ) / σ)², infinite at t = 0."""
        return self.noise_ratio(t).square().reciprocal()

    def noise_ratio(self, t: Tensor) -> Tensor:
        """σ / (1−σ)."""
        sigma = t.float() / STEPS
        return sigma / (1 - sigma)


def shifted(sigma: Tensor, shift: float) -> Tensor:
    """s·σ / (1 + (s−1)·σ): above 1 the noisy end gets more of the times; Esser et al. 2024, section 5.3.2."""
    return shift * sigma / (1 + (shift - 1) * sigma)


def resolution_shift(tokens: int) -> float:
    """The shift that Flux.1 takes for a picture of so many tokens, 2×2 latents each: e^μ, μ from 0.5 at 256 tokens to
    1.15 at 4096 (black-forest-labs/flux ``sampling.py``)."""
    return math.exp(0.5 + (tokens - 256) * (1.15 - 0.5) / (4096 - 256))
