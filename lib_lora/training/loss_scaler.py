"""Loss scaling, so that the gradients of half-precision activations do not vanish."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

FIRST_SCALE = 65536.0
GROW_AFTER = 2000  # steps without an overflow
LEAST_SCALE = 1.0  # an overflow without any enlargement is no overflow of ours


class LossScaler:
    """Multiplies the loss, divides the gradients, and leaves a step out where they overflowed.

    Source: Micikevicius et al., "Mixed Precision Training", 2018, with the constants of torch's GradScaler. The scale
    lives in the optimizer's first group, so a saved state has it. While it is on, each step waits for the device.

    Args:
        optimizer: whose gradients they are.
        on: whether anything runs in float16.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, on: bool):
        self.on = on
        self._group = optimizer.param_groups[0]
        if on:
            self._group.setdefault("loss_scale", FIRST_SCALE)
            self._group.setdefault("steps_since_overflow", 0)

    @property
    def scale(self) -> float:
        """What the loss is to be multiplied with."""
        return self._group["loss_scale"] if self.on else 1.0

    def unscale(self, gradients: Sequence[Tensor]) -> None:
        """Divide the gradients by the scale, in place."""
        if self.on and gradients:
            torch._foreach_mul_(list(gradients), 1 / self.scale)

    def accepts(self, grad_norm: Tensor) -> bool:
        """Whether the step is to be made, by the norm of the gradients; adapts the scale for the next one."""
        if not self.on or (self.scale < LEAST_SCALE):
            return True
        group = self._group
        if not torch.isfinite(grad_norm).item():
            group["loss_scale"] /= 2
            group["steps_since_overflow"] = 0
            return False
        group["steps_since_overflow"] += 1
        if group["steps_since_overflow"] == GROW_AFTER:
            group["loss_scale"] *= 2
            group["steps_since_overflow"] = 0
        return True
