"""The noise schedule of Stable Diffusion 1.x and what diffusion training derives from it.

Notation of Ho et al. 2020 (DDPM) and Salimans & Ho 2022 (v-prediction): x_t = √ᾱ_t·x_0 + √(1−ᾱ_t)·ε.
"""

from __future__ import annotations

import torch
from torch import Tensor

STEPS = 1000
BETA_START = 0.00085
BETA_END = 0.012


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


class NoiseSchedule:
    """What happens to a latent at each timestep.

    Args:
        alphas_cumprod: ᾱ, ``[T]``, decreasing; None for Stable Diffusion's scaled-linear schedule of 1000 steps.
    """

    def __init__(self, alphas_cumprod: Tensor | None = None):
        self.alphas_cumprod = scaled_linear_alphas() if alphas_cumprod is None else alphas_cumprod.float()
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

    def _scales(self, t: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        alphas = self._on(like.device)[t.to(like.device)]
        alphas = alphas.reshape(-1, *[1] * (like.ndim - 1))
        return alphas.sqrt().to(like.dtype), (1 - alphas).sqrt().to(like.dtype)

    def _on(self, device: torch.device) -> Tensor:
        """ᾱ on ``device``, copied there once."""
        if device not in self._placed:
            self._placed[device] = self.alphas_cumprod.to(device)
        return self._placed[device]
