"""The denoising loss."""

from __future__ import annotations

from torch import Tensor

from lib_lora.models.schedule import NoiseSchedule


def min_snr_weight(snr: Tensor, gamma: float, prediction: str) -> Tensor:
    """Loss weight per sample: min(SNR, γ)/SNR for ε-prediction, min(SNR, γ)/(SNR + 1) for v.

    Source: Hang et al., "Efficient Diffusion Training via Min-SNR Weighting Strategy", 2023.
    """
    capped = snr.clamp(max=gamma)
    return capped / snr if prediction == "epsilon" else capped / (snr + 1)


def denoising_loss(
    predicted: Tensor,
    x0: Tensor,
    noise: Tensor,
    t: Tensor,
    schedule: NoiseSchedule,
    prediction: str,
    gamma: float = 0.0,
) -> Tensor:
    """Weighted mean squared error per sample, [B].

    Args:
        predicted: the model's output for ``schedule.add_noise(x0, noise, t)``; it, ``x0`` and ``noise`` are [B,C,h,w].
        prediction: ``"epsilon"`` or ``"v"``.
        gamma: min-SNR γ; 0 weights all timesteps alike.
    """
    target = schedule.target(prediction, x0, noise, t).float()
    error = (predicted.float() - target).square().mean(dim=(1, 2, 3))
    if gamma:
        error = error * min_snr_weight(schedule.snr(t), gamma, prediction)
    return error
