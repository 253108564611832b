"""Which of the web UI's models can be trained on as they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lib_lora.errors import UserError
from lib_lora.hosts.a1111.model import A1111Model
from lib_lora.hosts.a1111.sd2 import A1111SD2Model
from lib_lora.hosts.a1111.sdxl import A1111XLModel, is_complete
from lib_lora.hosts.webui.family import family
from lib_lora.hosts.webui.model import do_nothing
from lib_lora.models.families import families
from lib_lora.models.weights import FP8, PLAIN

MODELS: dict[str, type[A1111Model]] = {"sd1": A1111Model, "sd2": A1111SD2Model, "sdxl": A1111XLModel}
TEXT_CONDITIONING = "crossattn"


def live_model(sd_model: Any, ready: Callable[[str], None] = do_nothing) -> A1111Model:
    """The model of a family that :func:`require_trainable` lets pass."""
    return MODELS[family(sd_model)](sd_model, ready)


def require_family(sd_model: Any) -> None:
    """Refuse models of other families.

    Raises:
        UserError: naming the family.
    """
    found = family(sd_model)
    if found not in MODELS:
        fix = "Choose a checkpoint of SD 1.x, SD 2.x or SDXL"
        raise UserError(f"This model is of family {found}", where=sd_model.sd_checkpoint_info.name, fix=fix)


def require_trainable(sd_model: Any) -> None:
    """Refuse what would fail in mid-run.

    Raises:
        UserError: with the reason and what to do.
    """
    require_family(sd_model)
    where = sd_model.sd_checkpoint_info.name
    if families()[family(sd_model)].sizes and not is_complete(sd_model):
        raise UserError(
            "SDXL's refiner cannot be trained on", where=where, fix="Choose the base model or one of its kind"
        )
    if sd_model.model.conditioning_key != TEXT_CONDITIONING:
        raise UserError("Inpainting and instruction models cannot be trained on", where=where, fix="Choose another")
    weights = {p.dtype for p in sd_model.model.parameters()}
    if unknown := {str(dtype).removeprefix("torch.") for dtype in weights - PLAIN - FP8}:
        what = f"The weights are stored as {', '.join(sorted(unknown))}"
        raise UserError(what, where=where, fix="Choose a checkpoint of another precision")
