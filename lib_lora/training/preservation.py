"""Keeping images without the trigger as they are: the network is to change nothing where it was not asked for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from lib_lora.adapters.network import Network
from lib_lora.dataset.batches import MicroBatch
from lib_lora.training.denoiser import Denoiser
from lib_lora.training.noise import NoiseDraw


def preservation_loss(denoiser: Denoiser, network: Network, batch: MicroBatch, drawn: NoiseDraw) -> Tensor:
    """How far ``network`` moves images without the trigger: mean squared error per sample, [B].

    The same noisy latents go through the model with the class word in the place of the trigger, once with and once
    without the network. Source: differential output preservation of ai-toolkit and kohya's ``diff_output_
    preservation``; the idea is the prior preservation of Ruiz et al., "DreamBooth", 2022.
    """
    config = denoiser.config
    x_t, _ = denoiser.noised(batch.latents, replace(drawn, added=drawn.noise))
    plain = [without_trigger(caption, config.trigger, config.preserve_class) for caption in batch.captions]
    with torch.no_grad(), switched_off(network):
        before = denoiser.predict(x_t, drawn.t, batch, plain)
    after = denoiser.predict(x_t, drawn.t, batch, plain)
    return F.mse_loss(after.float(), before.float(), reduction="none").mean(dim=(1, 2, 3))


def without_trigger(caption: str, trigger: str, class_word: str) -> str:
    """``caption`` with ``class_word`` for the trigger that it begins with; "" takes the trigger out."""
    rest = caption.removeprefix(trigger) if trigger else caption
    return ", ".join(part for part in (class_word.strip(), rest.lstrip(", ")) if part)


@contextmanager
def switched_off(network: Network) -> Iterator[None]:
    """The model without ``network`` for the length of a ``with`` block."""
    before, network.enabled = network.enabled, False
    try:
        yield
    finally:
        network.enabled = before
