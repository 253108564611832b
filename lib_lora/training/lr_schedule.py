"""Learning-rate schedules as plain functions of the step, so that there is no scheduler state to save."""

from __future__ import annotations

import math


def lr_factor(schedule: str, step: int, total: int, warmup: float = 0.0) -> float:
    """What the base rate is multiplied with for 0-based ``step`` of ``total``.

    Args:
        schedule: ``"constant"``, ``"constant_with_warmup"`` or ``"cosine"`` (half a wave to 0).
        warmup: share of ``total`` in which the rate rises linearly; the first step already learns something.
    """
    warm_steps = 0 if schedule == "constant" else round(total * warmup)
    if step < warm_steps:
        return (step + 1) / warm_steps
    if schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * (step - warm_steps) / max(1, total - warm_steps)))
    return 1.0
