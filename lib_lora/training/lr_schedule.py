"""Learning-rate schedules as plain functions of the step, so that there is no scheduler state to save."""

from __future__ import annotations

import math
from collections.abc import Callable

from lib_lora.training.config import TrainConfig

REX_D = 0.9  # of the LoRA trainers' REX; Chen et al., "REX: Revisiting Budgeted Training", 2021, use 0.5
TIMESCALE = 10_000  # of the inverse square root without a warm-up, as in diffusers
CYCLIC = ("cosine_with_restarts", "rex_with_restarts")


def lr_factor(config: TrainConfig, step: int, total: int) -> float:
    """What the base rate is multiplied with in 0-based ``step`` of ``total``.

    With restarts, each cycle is ``cycle_length_factor`` times as long as the one before, starts with its own share of
    warm-up, and peaks ``cycle_decay`` times as high. Every schedule that falls, falls to ``min_lr`` instead of 0.
    """
    peak, length = 1.0, total
    if config.schedule in CYCLIC:
        index, step, length = _cycle(step, total, config.cycles, config.cycle_length_factor)
        peak = config.cycle_decay**index
    warm = 0 if config.schedule == "constant" else round(length * config.warmup)
    if step < warm:
        return peak * (step + 1) / warm
    if config.schedule == "inverse_sqrt":
        timescale = warm or TIMESCALE
        return math.sqrt(timescale / (step + timescale - warm))
    progress = (step - warm) / max(1, length - warm)
    return config.min_lr + (peak - config.min_lr) * SHAPES[config.schedule](progress, config)


def lr_curve(config: TrainConfig, total: int, points: int = 200) -> list[tuple[int, float]]:
    """(step, factor) for a plot, at most ``points`` of them, first and last step included."""
    steps = sorted({round(i * (total - 1) / max(1, points - 1)) for i in range(points)})
    return [(step, lr_factor(config, step, total)) for step in steps]


def _constant(progress: float, config: TrainConfig) -> float:
    return 1.0


def _linear(progress: float, config: TrainConfig) -> float:
    return 1 - progress


def _cosine(progress: float, config: TrainConfig) -> float:
    return 0.5 * (1 + math.cos(math.pi * progress))


def _polynomial(progress: float, config: TrainConfig) -> float:
    return math.pow(1 - progress, config.power)


def _rex(progress: float, config: TrainConfig) -> float:
    left = 1 - progress
    return left / (1 - REX_D + REX_D * left)


def _step(progress: float, config: TrainConfig) -> float:
    return config.cycle_decay ** int(progress * config.cycles)


def _stable_decay(progress: float, config: TrainConfig) -> float:
    into_decay = (progress - 1 + config.decay_share) / config.decay_share
    return 1.0 if into_decay <= 0 else _cosine(into_decay, config)


SHAPES: dict[str, Callable[[float, TrainConfig], float]] = {
    "constant": _constant,
    "constant_with_warmup": _constant,
    "linear": _linear,
    "cosine": _cosine,
    "cosine_with_restarts": _cosine,
    "polynomial": _polynomial,
    "rex": _rex,
    "rex_with_restarts": _rex,
    "step": _step,
    "warmup_stable_decay": _stable_decay,
}


def _cycle(step: int, total: int, cycles: int, factor: float) -> tuple[int, int, int]:
    """(number of the cycle, step within it, its length); the cycles fill ``total`` exactly."""
    lengths = [factor**i for i in range(cycles)]
    bounds = [round(total * sum(lengths[:i]) / sum(lengths)) for i in range(cycles + 1)]
    index = next(i for i in reversed(range(cycles)) if step >= bounds[i])
    return index, step - bounds[index], bounds[index + 1] - bounds[index]
