"""A loss that can be compared between epochs: the same images, noise and timesteps every time.

The running loss mostly shows which timesteps were drawn. Here nothing is drawn anew, so a difference between two epochs
comes from the weights alone.
"""

from __future__ import annotations

from statistics import fmean
from typing import Any

import torch

from lib_lora.dataset.batches import Batches
from lib_lora.models.transfer import sent
from lib_lora.randomness import torch_generator
from lib_lora.training.config import TrainConfig
from lib_lora.training.denoiser import Denoiser
from lib_lora.training.noise import NoiseDraw
from lib_lora.training.timesteps import spread_timesteps


def fixed_batches(batches: Batches, config: TrainConfig) -> list[int]:
    """Micro-steps of epoch 0, spread over it, that together hold about ``fixed_loss_images`` images."""
    count = min(batches.steps_per_epoch, -(-config.fixed_loss_images // config.batch_size))
    return [i * batches.steps_per_epoch // count for i in range(count)]


def epoch_losses(denoiser: Denoiser, batches: Batches, held_out: Batches | None, config: TrainConfig) -> dict[str, Any]:
    """``fixed_loss`` and ``validation_loss``, the means of trained and of held-out images, None where there are none;
    and each image's own in ``fixed_losses`` and ``validation_losses``."""
    found: dict[str, Any] = {}
    for name, measured in (("fixed", batches), ("validation", held_out)):
        losses = [] if measured is None else fixed_losses(denoiser, measured, config)
        found[f"{name}_loss"] = fmean(losses) if losses else None
        found[f"{name}_losses"] = losses
    return found


def fixed_losses(denoiser: Denoiser, batches: Batches, config: TrainConfig) -> list[float]:
    """The loss of each fixed image with its fixed noise, averaged over fixed timesteps; empty if it is switched off."""
    levels = spread_timesteps(config.fixed_loss_timesteps, denoiser.steps)
    device, losses = denoiser.model.device, []
    with torch.no_grad(), denoiser.learning():
        for index in fixed_batches(batches, config):
            batch = batches.batch(index)
            generator = torch_generator(config.seed, "fixed-loss", index)
            noise = sent(torch.randn(batch.latents.shape, generator=generator), device)
            counted = sent(batch.weights > 0, device)  # what is not learned would look like a fault
            batch = batch.on(device)
            of_levels = []
            for level in levels:
                t = sent(torch.full((len(batch),), level), device)
                of_levels.append(denoiser.loss(batch, NoiseDraw(t, noise, noise)))
            losses.append(torch.stack(of_levels).mean(dim=0)[counted])
    return torch.cat(losses).tolist() if losses else []
