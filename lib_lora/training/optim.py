"""Parameter groups, and the rate of each in every step."""

from __future__ import annotations

from typing import Any

import torch

from lib_lora.adapters.blocks import BlockWeights, load_presets
from lib_lora.adapters.network import Network
from lib_lora.adapters.selection import part_of
from lib_lora.training.config import TrainConfig
from lib_lora.training.lr_schedule import lr_factor
from lib_lora.training.optimizers import make

PARTS = ("unet", "te")


def build_optimizer(network: Network, config: TrainConfig) -> torch.optim.Optimizer:
    """The optimizer of the settings; each of its groups remembers its ``part`` and its ``base_lr``."""
    groups = parameter_groups(network, config)
    trained = {parameter for group in groups for parameter in group["params"]}
    for parameter in network.parameters():
        parameter.requires_grad_(parameter in trained)
    betas = (config.beta1, config.beta2)
    return make(config.optimizer, groups, betas, config.weight_decay, config.optimizer_args)


def parameter_groups(network: Network, config: TrainConfig) -> list[dict[str, Any]]:
    """A group per part and rate, the U-Net's first; what has a rate of 0 is in none.

    LoRA+ gives the up projections a higher rate (Hayou et al., "LoRA+: Efficient Low Rank Adaptation", 2024).
    """
    rates = {"unet": config.unet_lr, "te": config.te_lr}
    ratios = {"unet": config.loraplus_ratio, "te": config.loraplus_te_ratio}
    of = network.families[0] if network.families else None
    text = config.block_lr.strip()
    by_block = BlockWeights.parse(text, load_presets(), of, strict=False) if text else None
    groups: dict[tuple[str, float], list[torch.nn.Parameter]] = {}
    for part in PARTS:
        for key, adapter in network.adapters.items():
            rate = rates[part] * (1.0 if by_block is None else by_block.of(key))
            if part_of(key) != part or rate <= 0:
                continue
            for name, parameter in adapter.named_parameters():
                lr = rate * ratios[part] if name.split(".")[-1] == "up" else rate
                groups.setdefault((part, lr), []).append(parameter)
    return [{"params": params, "lr": lr, "base_lr": lr, "part": part} for (part, lr), params in groups.items()]


def set_learning_rate(
    optimizer: torch.optim.Optimizer, config: TrainConfig, step: int, total: int, per_epoch: float | None = None
) -> float:
    """Set every group's rate for ``step``; returns the first group's, for display.

    Args:
        per_epoch: steps of an epoch; None: as many as make ``total`` in the epochs of the settings.

    Parts whose training has ended keep their weights exactly: no gradient, no decay.
    """
    factor = lr_factor(config, step, total)
    for group in optimizer.param_groups:
        group["lr"] = group["base_lr"] * factor
        training = not has_stopped(config, group["part"], step, per_epoch or total / config.epochs)
        for parameter in group["params"]:
            parameter.requires_grad_(training)
    first = optimizer.param_groups[0]
    return float(first["lr"]) * float(first.get("d", 1.0))  # d: the rate that Prodigy and D-Adaptation have found


def has_stopped(config: TrainConfig, part: str, step: int, per_epoch: float) -> bool:
    """Whether ``part`` ("unet", "te") is no longer trained in 0-based ``step``; ``per_epoch`` steps are an epoch."""
    epochs = config.stop_unet_after if part == "unet" else config.stop_te_after
    return epochs > 0 and step >= epochs * per_epoch
