"""Samplers by the names that web UIs give them, through diffusers' schedulers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    SchedulerMixin,
)
from torch import Tensor

from lib_lora.errors import UserError
from lib_lora.models.schedule import BETA_END, BETA_START, STEPS, shifted

SAMPLERS: dict[str, tuple[type[SchedulerMixin], dict[str, Any]]] = {
    "DPM++ 2M Karras": (DPMSolverMultistepScheduler, {"use_karras_sigmas": True, "timestep_spacing": "linspace"}),
    "DPM++ 2M": (DPMSolverMultistepScheduler, {"timestep_spacing": "linspace"}),
    "Euler a": (EulerAncestralDiscreteScheduler, {"timestep_spacing": "linspace"}),
    "Euler": (EulerDiscreteScheduler, {"timestep_spacing": "linspace"}),
    "DDIM": (DDIMScheduler, {"clip_sample": False, "set_alpha_to_one": False, "steps_offset": 1}),
}


@dataclass
class _Stepped:
    prev_sample: Tensor


class FlowEuler:
    """Euler's method on the ODE of a rectified flow, dx/dσ = ε − x_0, from σ = 1 to 0.

    Args:
        shift: of the times, see :func:`lib_lora.models.schedule.shifted`.
    """

    init_noise_sigma = 1.0

    def __init__(self, shift: float = 1.0):
        self.shift = shift

    def set_timesteps(self, steps: int, device: torch.device) -> None:
        """Begin a picture: ``steps`` times from 1 towards 0, shifted as the model's."""
        self.sigmas = shifted(torch.linspace(1, 0, steps + 1, device=device), self.shift)
        self.timesteps = self.sigmas[:-1] * STEPS
        self._at = 0

    def scale_model_input(self, x: Tensor, t: Tensor) -> Tensor:
        """``x`` itself, as a flow's model takes it."""
        return x

    def step(self, output: Tensor, t: Tensor, x: Tensor, generator: object = None) -> _Stepped:
        """x at the next time."""
        width = self.sigmas[self._at + 1] - self.sigmas[self._at]
        self._at += 1
        return _Stepped(x + width * output)


def make_scheduler(
    sampler: str, prediction: str, zero_terminal: bool = False, shift: float = 1.0
) -> SchedulerMixin | FlowEuler:
    """A fresh scheduler for one batch.

    Args:
        sampler: a key of ``SAMPLERS``.
        prediction: ``"epsilon"``, ``"v"``, or ``"flow"``, which goes by Euler's method whatever the sampler is called.
        zero_terminal: whether the model was trained on noise without any signal; sampling then starts there.
        shift: of a flow's times.

    Raises:
        UserError: unknown sampler.
    """
    if sampler not in SAMPLERS:
        raise UserError("There is no such sampler", where=sampler, fix=f"Choose one of {', '.join(SAMPLERS)}")
    if prediction == "flow":
        return FlowEuler(shift)
    scheduler, options = SAMPLERS[sampler]
    return scheduler(
        num_train_timesteps=STEPS,
        beta_start=BETA_START,
        beta_end=BETA_END,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction" if prediction == "v" else "epsilon",
        rescale_betas_zero_snr=zero_terminal,
        **options,
    )
