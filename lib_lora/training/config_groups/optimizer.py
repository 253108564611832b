"""How the weights move: optimizer, rates and their schedule."""

from __future__ import annotations

from dataclasses import dataclass

from lib_lora.training.config_groups.setting import OPTIMIZER, SCHEDULE, setting

OPTIMIZERS = ("AdamW",)
SCHEDULES = ("constant", "constant_with_warmup", "cosine")


@dataclass
class OptimizerSettings:
    # fmt: off
    optimizer: str = setting("AdamW", OPTIMIZER, "Optimizer", "AdamW works everywhere",
        choices=OPTIMIZERS, kohya="optimizer_type")
    unet_lr: float = setting(5e-4, OPTIMIZER, "U-Net learning rate",
        "1e-4 to 5e-4; lower if images turn harsh; 0 leaves the U-Net alone", low=0, high=1, kohya="unet_lr")
    te_lr: float = setting(1e-4, OPTIMIZER, "Text encoder learning rate",
        "About a fifth of the U-Net's; 0 leaves the text encoder alone", low=0, high=1, kohya="text_encoder_lr")
    weight_decay: float = setting(0.1, OPTIMIZER, "Weight decay", "Pulls weights to zero; 0.01-0.1",
        low=0, high=10, kohya="optimizer_args.weight_decay")
    beta1: float = setting(0.9, OPTIMIZER, "Beta 1", "Memory of the gradient",
        low=0, high=0.9999, kohya="optimizer_args.betas[0]")
    beta2: float = setting(0.99, OPTIMIZER, "Beta 2", "Memory of its square; 0.99 for short runs, 0.999 for long ones",
        low=0, high=0.99999, kohya="optimizer_args.betas[1]")
    gradient_accumulation: int = setting(1, OPTIMIZER, "Gradient accumulation",
        "Batches per step: a larger batch without its memory",
        low=1, high=256, unit="batches", kohya="gradient_accumulation_steps")
    max_grad_norm: float = setting(1.0, OPTIMIZER, "Gradient clipping", "Longest allowed gradient; 0 is off",
        low=0, high=1000, kohya="max_grad_norm")
    # fmt: on


@dataclass
class ScheduleSettings:
    # fmt: off
    schedule: str = setting("cosine", SCHEDULE, "Learning rate schedule", "cosine falls to 0 at the end",
        choices=SCHEDULES, kohya="lr_scheduler")
    warmup: float = setting(0.0, SCHEDULE, "Warm-up", "Share of the steps in which the rate rises from 0",
        low=0, high=0.5, unit="of all steps", kohya="lr_warmup_steps")
    # fmt: on
