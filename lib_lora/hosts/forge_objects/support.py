"""Which models of Forge's kind can be trained on as they are."""

from __future__ import annotations

from typing import Any

from lib_lora.errors import UserError
from lib_lora.hosts.webui.family import family

FAMILIES = ("sd1", "sdxl")


def require_family(sd_model: Any, inpainting: bool) -> None:
    """Refuse other models than Stable Diffusion 1.x and SDXL.

    Raises:
        UserError: with the reason and what to do.
    """
    where, found = sd_model.sd_checkpoint_info.name, family(sd_model)
    if found not in FAMILIES:
        raise UserError(
            f"This model is of family {found}", where=where, fix="Choose a Stable Diffusion 1.x or SDXL checkpoint"
        )
    if not hasattr(sd_model.forge_objects_original.clip.cond_stage_model, "clip_l"):
        raise UserError("SDXL's refiner cannot be trained on", where=where, fix="Choose an SDXL base checkpoint")
    if inpainting:
        raise UserError("Inpainting and instruction models cannot be trained on", where=where, fix="Choose another")
