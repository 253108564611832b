"""Optimizer and parameter groups."""

from __future__ import annotations

import torch

from lib_lora.adapters.network import Network
from lib_lora.training.config import TrainConfig
from lib_lora.training.lr_schedule import lr_factor


def build_optimizer(network: Network, config: TrainConfig) -> torch.optim.Optimizer:
    """AdamW with one group per trained part; each group remembers its ``part`` and its ``base_lr``."""
    rates = {"unet": config.unet_lr, "te": config.te_lr}
    groups = [
        {"params": params, "lr": lr, "base_lr": lr, "part": part}
        for part, lr in rates.items()
        if lr > 0 and (params := network.parameters(part))
    ]
    betas = (config.beta1, config.beta2)
    # foreach: hundreds of small matrices would otherwise cost a kernel launch each
    return torch.optim.AdamW(groups, betas=betas, weight_decay=config.weight_decay, foreach=True)


def set_learning_rate(optimizer: torch.optim.Optimizer, config: TrainConfig, step: int, total: int) -> float:
    """Set every group's rate for ``step``; returns the first group's, for display."""
    factor = lr_factor(config.schedule, step, total, config.warmup)
    for group in optimizer.param_groups:
        group["lr"] = group["base_lr"] * factor
    return optimizer.param_groups[0]["lr"]
