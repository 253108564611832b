"""Samplers by the names that web UIs give them, through diffusers' schedulers."""

from __future__ import annotations

from typing import Any

from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    SchedulerMixin,
)

from lib_lora.errors import UserError
from lib_lora.models.schedule import BETA_END, BETA_START, STEPS

SAMPLERS: dict[str, tuple[type[SchedulerMixin], dict[str, Any]]] = {
    "DPM++ 2M Karras": (DPMSolverMultistepScheduler, {"use_karras_sigmas": True, "timestep_spacing": "linspace"}),
    "DPM++ 2M": (DPMSolverMultistepScheduler, {"timestep_spacing": "linspace"}),
    "Euler a": (EulerAncestralDiscreteScheduler, {"timestep_spacing": "linspace"}),
    "Euler": (EulerDiscreteScheduler, {"timestep_spacing": "linspace"}),
    "DDIM": (DDIMScheduler, {"clip_sample": False, "set_alpha_to_one": False, "steps_offset": 1}),
}


def make_scheduler(sampler: str, prediction: str, zero_terminal: bool = False) -> SchedulerMixin:
    """A fresh scheduler for one batch.

    Args:
        sampler: a key of ``SAMPLERS``.
        prediction: ``"epsilon"`` or ``"v"``.
        zero_terminal: whether the model was trained on noise without any signal; sampling then starts there.

    Raises:
        UserError: unknown sampler.
    """
    if sampler not in SAMPLERS:
        raise UserError("There is no such sampler", where=sampler, fix=f"Choose one of {', '.join(SAMPLERS)}")
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
