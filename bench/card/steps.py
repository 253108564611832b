"""A training step: its time, its peak memory, and its share of what the card can do at most."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from bench.card.device import Card
from bench.card.models import Size
from bench.card.variants import VARIANTS, Variant
from lib_lora.adapters.network import Network
from lib_lora.adapters.selection import NetworkSpec
from lib_lora.training.optimizers import make

RANK = 16
LORA = NetworkSpec(rank=RANK, alpha=RANK, train_text_encoder=False)


def measured(
    card: Card, model: Any, size: Size, variant: str, flops: float | None, rate: float | None, seconds: float
) -> dict[str, Any]:
    """Figures of a step of rank 16 on the U-Net.

    Args:
        flops: of a step of one image, without recomputation.
        rate: operations a second that a matrix product reaches.
        seconds: how long to measure.

    Returns:
        ``seconds``, ``images_per_second``, ``peak_gb`` of tensors, the model included, and ``share`` of ``rate``.
    """
    v = VARIANTS[variant]
    with model.stored(v.packing, v.away):
        model.gradient_checkpointing(v.checkpointing)
        card.reset()
        network = Network.create(model.layers("unet"), LORA, seed=0)
        try:
            with network.attached_to(model.layers("unet")):
                took = card.timed(training_step(card, model, network, size, v), seconds)
                peak = card.peak_gb()
        finally:
            model.gradient_checkpointing(False)
    share = None if flops is None or rate is None else flops * v.batch / took / rate
    return {"seconds": took, "images_per_second": v.batch / took, "peak_gb": peak, "share": share}


def training_step(card: Card, model: Any, network: Network, size: Size, variant: Variant) -> Callable[[], None]:
    """Forward, backward, clipping and the optimizer; text and latents are cached, as they are by default."""
    device, side = card.device, size.pixels // 8
    latents, target = (torch.ones(variant.batch, 4, side, side, device=device).normal_() for _ in range(2))
    cond = torch.ones(variant.batch, 77, size.cond_width, device=device).normal_()
    t = torch.full((variant.batch,), 500, device=device)
    parameters = [p.requires_grad_() for p in network.parameters()]
    optimizer = make(variant.optimizer, [{"params": parameters, "lr": 1e-4}], (0.9, 0.999), 0.01)

    def step() -> None:
        with torch.autocast(device.type, model.dtype):
            loss = (model.predict(latents, t, cond) - target).square().mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0, foreach=True)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def flops_of_a_step(card: Card, model: Any, size: Size) -> float:
    """Floating-point operations of matrix products, convolutions and attention in a step of one image."""
    network = Network.create(model.layers("unet"), LORA, seed=0)
    with network.attached_to(model.layers("unet")), FlopCounterMode(display=False) as counted:
        training_step(card, model, network, size, Variant())()
    return float(counted.get_total_flops())
