"""What kind of model a web UI has loaded."""

from __future__ import annotations

from typing import Any

from lib_lora.models.families import families

FAMILIES = {"is_sd1": "sd1", "is_sd2": "sd2", "is_sdxl": "sdxl", "is_sd3": "sd3"}
CLIP_LAYERS = 12


def family(sd_model: Any) -> str:
    """``"sd1"``, ``"sd2"``, ``"sdxl"``, ``"sd3"`` or ``"unknown"``, by the flags that the web UI sets on its models."""
    return next((name for flag, name in FAMILIES.items() if getattr(sd_model, flag, False)), "unknown")


def text_layers(sd_model: Any) -> int:
    """Choices of clip skip: layers of the text encoder; 1 for families that have no choice.

    CLIP's usual 12 where it is none of transformers' models, or is being loaded.
    """
    known = families().get(family(sd_model))
    if known is not None and not known.clip_skip:
        return 1
    embedder = getattr(sd_model.cond_stage_model, "wrapped", sd_model.cond_stage_model)
    config = getattr(getattr(embedder, "transformer", None), "config", None)
    return getattr(config, "num_hidden_layers", CLIP_LAYERS)
