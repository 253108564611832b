"""The model of web UIs that keep it in ``shared.sd_model``."""

from __future__ import annotations

from typing import Any

from modules import sd_models, shared

from lib_lora.errors import UserError


def loaded() -> Any:
    """The loaded model; loads one where that has not happened yet.

    Raises:
        UserError: there is none to load.
    """
    sd_model = shared.sd_model
    if sd_model is None:
        raise UserError("No model is loaded", fix="Choose a checkpoint in the web UI's top bar")
    return sd_model


def switch_to(checkpoint: Any) -> None:
    """Load another checkpoint's weights without making it the user's choice."""
    with sd_models.SkipWritingToConfig():
        sd_models.reload_model_weights(info=checkpoint)
