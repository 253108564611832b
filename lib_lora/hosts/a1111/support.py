"""Which of the web UI's models can be trained on as they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from lib_lora.errors import UserError
from lib_lora.hosts.a1111.model import A1111Model
from lib_lora.hosts.a1111.sdxl import A1111XLModel, is_complete
from lib_lora.hosts.webui.model import do_nothing

FAMILIES = {"is_sd1": "sd1", "is_sd2": "sd2", "is_sdxl": "sdxl", "is_sd3": "sd3"}
MODELS: dict[str, type[A1111Model]] = {"sd1": A1111Model, "sdxl": A1111XLModel}
TEXT_CONDITIONING = "crossattn"
CLIP_LAYERS = 12


def family(sd_model: Any) -> str:
    """``"sd1"``, ``"sd2"``, ``"sdxl"``, ``"sd3"`` or ``"unknown"``, by the flags that the web UI sets on its models."""
    return next((name for flag, name in FAMILIES.items() if getattr(sd_model, flag, False)), "unknown")


def text_layers(sd_model: Any) -> int:
    """Choices of clip skip: layers of the text encoder; 1 for SDXL, which has no choice.

    CLIP's usual 12 where it is none of transformers' models, or is being loaded.
    """
    if family(sd_model) == "sdxl":
        return 1
    embedder = getattr(sd_model.cond_stage_model, "wrapped", sd_model.cond_stage_model)
    config = getattr(getattr(embedder, "transformer", None), "config", None)
    return getattr(config, "num_hidden_layers", CLIP_LAYERS)


def live_model(sd_model: Any, ready: Callable[[str], None] = do_nothing) -> A1111Model:
    """The model of a family that :func:`require_trainable` lets pass."""
    return MODELS[family(sd_model)](sd_model, ready)


def require_trainable(sd_model: Any) -> None:
    """Refuse what would fail in mid-run.

    Raises:
        UserError: with the reason and what to do.
    """
    where = sd_model.sd_checkpoint_info.name
    found = family(sd_model)
    if found not in MODELS:
        raise UserError(f"This model is of family {found}", where=where, fix="Choose a checkpoint of SD 1.x or SDXL")
    if found == "sdxl" and not is_complete(sd_model):
        raise UserError(
            "SDXL's refiner cannot be trained on", where=where, fix="Choose the base model or one of its kind"
        )
    if sd_model.model.conditioning_key != TEXT_CONDITIONING:
        raise UserError("Inpainting and instruction models cannot be trained on", where=where, fix="Choose another")
    if getattr(sd_model, "lowvram", False):
        raise UserError(
            "The web UI moves this model in and out of the GPU in pieces, so gradients cannot be computed",
            where="--medvram or --lowvram",
            fix="Start the web UI without that option",
        )
    weights = {p.dtype for p in sd_model.model.parameters()}
    if not weights <= {torch.float32, torch.float16, torch.bfloat16}:
        raise UserError(
            f"The weights are stored as {', '.join(sorted(map(str, weights)))}",
            where=where,
            fix="Set FP8 weight to Disable in Settings → Optimizations",
        )
