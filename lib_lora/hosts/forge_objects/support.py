"""Which models of Forge's kind can be trained on as they are."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import torch
from torch import nn

from lib_lora.errors import UserError
from lib_lora.hosts.webui.family import family

FAMILIES = ("sd1", "sdxl")
PLAIN = {torch.float32, torch.float16, torch.bfloat16}
QUANTIZED = ("bnb_quantized", "gguf_cls")  # attributes of Forge's packed parameters
LOW_BITS = "Set Diffusion in Low Bits to Automatic, or choose a checkpoint in fp16"


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


def require_plain_weights(unet: nn.Module, where: str, also: Collection[torch.dtype] = ()) -> None:
    """Refuse packed weights, which adapters cannot read, and those that the host would not widen for a backward pass.

    Args:
        also: types of storage, besides the usual ones, that it does widen.

    Raises:
        UserError: with the kind of storage that was found.
    """
    kinds = {str(p.dtype) for p in unet.parameters() if p.dtype not in PLAIN.union(also)}
    kinds |= {name for name in QUANTIZED for p in unet.parameters() if getattr(p, name, None)}
    if kinds:
        raise UserError(f"The weights are stored as {', '.join(sorted(kinds))}", where=where, fix=LOW_BITS)


def require_loaded(module: nn.Module, device: torch.device, where: str) -> None:
    """Refuse a model of which the memory manager has left a part outside the GPU.

    Raises:
        UserError: there is too little video memory.
    """
    if any(p.device.type != device.type for p in module.parameters()):
        raise UserError(
            "There is too little video memory to hold the model while it is trained on",
            where=where,
            fix="Raise GPU Weights at the top of the page, or close other programs that use the GPU",
        )
