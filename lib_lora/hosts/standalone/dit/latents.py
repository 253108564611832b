"""Pictures and what a transformer sees of them, by the family's :class:`~lib_lora.models.family.Latents`."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lib_lora.models.family import Latents

Vae = Any  # of diffusers


def encoded(vae: Vae, pixels: Tensor, latents: Latents, patched: bool) -> Tensor:
    """Latents [B, C, h, w] of ``pixels`` [B, 3, H, W], the mean of the posterior."""
    video = _is_video(vae)
    z: Tensor = vae.encode(pixels.unsqueeze(2) if video else pixels).latent_dist.mode()
    z = z.squeeze(2) if video else z
    if patched:
        return (_patched(z) - _mean(vae)) / _std(vae)
    if latents.mean:
        return (z - _column(latents.mean, z)) / _column(latents.std, z)
    return (z - latents.shift) * latents.scale


def decoded(vae: Vae, x: Tensor, latents: Latents, patched: bool) -> Tensor:
    """Pixels [B, 3, H, W] of latents [B, C, h, w]."""
    if patched:
        z = _unpatched(x * _std(vae) + _mean(vae))
    elif latents.mean:
        z = x * _column(latents.std, x) + _column(latents.mean, x)
    else:
        z = x / latents.scale + latents.shift
    if not _is_video(vae):
        found: Tensor = vae.decode(z).sample
        return found
    frames: Tensor = vae.decode(z.unsqueeze(2)).sample
    return frames.squeeze(2)


def _is_video(vae: Vae) -> bool:
    """Whether it wants a picture as a film of one frame."""
    return hasattr(vae.config, "latents_mean") and "3d" in type(vae.encoder).__name__.lower()


def _column(values: tuple[float, ...], like: Tensor) -> Tensor:
    return torch.tensor(values, device=like.device, dtype=like.dtype).view(1, -1, 1, 1)


def _mean(vae: Vae) -> Tensor:
    found: Tensor = vae.bn.running_mean
    return found.view(1, -1, 1, 1)


def _std(vae: Vae) -> Tensor:
    found: Tensor = vae.bn.running_var
    return (found + vae.config.batch_norm_eps).sqrt().view(1, -1, 1, 1)


def _patched(z: Tensor) -> Tensor:
    """[B, C, h, w] -> [B, 4·C, h/2, w/2]."""
    b, c, h, w = z.shape
    return z.view(b, c, h // 2, 2, w // 2, 2).permute(0, 1, 3, 5, 2, 4).reshape(b, 4 * c, h // 2, w // 2)


def _unpatched(x: Tensor) -> Tensor:
    b, c, h, w = x.shape
    return x.view(b, c // 4, 2, 2, h, w).permute(0, 1, 4, 2, 5, 3).reshape(b, c // 4, 2 * h, 2 * w)
