"""How the weights move: optimizer, rates and their schedule."""

from __future__ import annotations

import re
from dataclasses import dataclass

from lib_lora.training.config_groups.only import CYCLIC, FALLING, STEPPED, WARMED, given, one_of
from lib_lora.training.config_groups.setting import OPTIMIZER, SCHEDULE, setting

OPTIMIZERS = (
    "AdamW", "AdamW8bit", "PagedAdamW8bit", "Lion", "Lion8bit", "Adafactor", "Adafactor (relative step)", "Prodigy",
    "DAdaptAdam", "DAdaptLion", "DAdaptSGD", "DAdaptAdaGrad", "CAME", "AdEMAMix", "AdEMAMix8bit",
    "ScheduleFreeAdamW", "ScheduleFreeRAdam", "ScheduleFreeSGD", "SGD",
)  # fmt: skip
CLASS_NAME = re.compile(r"(?!__)[A-Za-z_]\w*(?:\.(?!__)[A-Za-z_]\w*)+", re.ASCII)  # module.Class
SCHEDULES = (
    "constant", "constant_with_warmup", "linear", "cosine", "cosine_with_restarts", "polynomial", "rex",
    "rex_with_restarts", "step", "inverse_sqrt", "warmup_stable_decay",
)  # fmt: skip


@dataclass
class OptimizerSettings:
    """Which optimizer, and its learning rates."""

    # fmt: off
    optimizer: str = setting("AdamW", OPTIMIZER, "Optimizer",
        "AdamW works everywhere; Prodigy and DAdapt find the rate themselves, give them learning rates of 1; "
        "torch.optim.RAdam and the like name any class",
        choices=OPTIMIZERS, others=CLASS_NAME, kohya="optimizer_type")
    unet_lr: float = setting(5e-4, OPTIMIZER, "U-Net learning rate",
        "Often 1e-4 to 5e-4, 1 with Prodigy; lower if images turn harsh; 0 is off", low=0, high=1, kohya="unet_lr")
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
    optimizer_args: str = setting("", OPTIMIZER, "Optimizer arguments",
        "Further ones as name=value, e.g. d_coef=2 for Prodigy", kohya="optimizer_args")
    loraplus_ratio: float = setting(1.0, OPTIMIZER, "LoRA+ ratio",
        "Rate of the up projections against the rest; 1 is off, 4-16", low=0.01, high=256,
        kohya="network_args.loraplus_unet_lr_ratio", only=given("unet_lr", "a U-Net learning rate"))
    loraplus_te_ratio: float = setting(1.0, OPTIMIZER, "LoRA+ ratio, text encoder", "1 is off",
        low=0.01, high=256, kohya="network_args.loraplus_text_encoder_lr_ratio",
        only=given("te_lr", "a text encoder learning rate"))
    block_lr: str = setting("", OPTIMIZER, "Rates per block",
        "17 or 26 factors as in Blocks, or the name of a preset; empty is off",
        kohya="network_args.down_lr_weight,mid_lr_weight,up_lr_weight")
    scale_weight_norms: float = setting(0.0, OPTIMIZER, "Largest weight norm",
        "Upper bound of each layer's change; about 1, 0 is off", low=0, high=100, kohya="scale_weight_norms")
    ema_decay: float = setting(0.0, OPTIMIZER, "Moving average",
        "Saves the average of the last steps' weights; 0.99 to 0.999, 0 is off", low=0, high=0.9999)
    stop_te_after: int = setting(0, OPTIMIZER, "Stop the text encoder after", "0 is never",
        low=0, high=1000, unit="epochs", kohya="stop_text_encoder_training",
        only=given("te_lr", "a text encoder learning rate"))
    stop_unet_after: int = setting(0, OPTIMIZER, "Stop the U-Net after", "0 is never",
        low=0, high=1000, unit="epochs", only=given("unet_lr", "a U-Net learning rate"))
    # fmt: on


@dataclass
class ScheduleSettings:
    """How the learning rate changes in the course of a run."""

    # fmt: off
    schedule: str = setting("cosine", SCHEDULE, "Learning rate schedule", "cosine falls to 0 at the end",
        choices=SCHEDULES, kohya="lr_scheduler")
    warmup: float = setting(0.0, SCHEDULE, "Warm-up", "Share of the steps in which the rate rises from 0",
        low=0, high=0.5, unit="of all steps", kohya="lr_warmup_steps", only=WARMED)
    min_lr: float = setting(0.0, SCHEDULE, "Lowest rate", "Where a falling schedule ends, against its start",
        low=0, high=1, unit="of the highest", kohya="lr_scheduler_min_lr_ratio", only=FALLING)
    cycles: int = setting(1, SCHEDULE, "Cycles", "Of a schedule with restarts; falls of the step schedule, plus one",
        low=1, high=100, kohya="lr_scheduler_num_cycles", only=STEPPED)
    cycle_length_factor: float = setting(1.0, SCHEDULE, "Cycle length", "Against the cycle before",
        low=0.1, high=10, kohya="lr_scheduler_args.cycle_multiplier", only=CYCLIC)
    cycle_decay: float = setting(1.0, SCHEDULE, "Cycle height", "Against the cycle before; the step schedule's factor",
        low=0.001, high=1, kohya="lr_scheduler_args.gamma", only=STEPPED)
    power: float = setting(1.0, SCHEDULE, "Power", "Of the polynomial; 1 is linear",
        low=0.1, high=10, kohya="lr_scheduler_power", only=one_of("schedule", "schedule", ("polynomial",)))
    decay_share: float = setting(0.2, SCHEDULE, "Decay", "Share of the steps in which warmup_stable_decay falls",
        low=0.01, high=1, unit="of all steps", kohya="lr_decay_steps",
        only=one_of("schedule", "schedule", ("warmup_stable_decay",)))
    # fmt: on
