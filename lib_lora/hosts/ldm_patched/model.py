"""A Stable Diffusion model of Forge-Classic or reForge as ``models.base.LoadedModel``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from lib_lora.hosts.forge_objects.model import ForgeObjectsModel
from lib_lora.hosts.forge_objects.sdxl import ForgeObjectsXLModel
from lib_lora.hosts.webui.model import do_nothing
from lib_lora.models.schedule import NoiseSchedule, zero_terminal_alphas


class LdmPatchedModel(ForgeObjectsModel):
    """``shared.sd_model``: an ldm module tree in which the parts were exchanged. Arguments as its base class."""

    def __init__(self, sd_model: Any, ready: Callable[[str], None] = do_nothing):
        super().__init__(sd_model, ready)
        self.prediction = "v" if getattr(sd_model, "parameterization", "eps") == "v" else "epsilon"
        self.latent_scale = float(self.objects.unet.model.model_config.latent_format.scale_factor)
        # as in A1111 the settings may have rescaled the schedule in use
        alphas = getattr(sd_model, "alphas_cumprod_original", sd_model.alphas_cumprod)
        with torch.inference_mode(False):
            alphas = alphas.detach().float().cpu().clone()
        zero_terminal = getattr(sd_model, "ztsnr", False)
        self.schedule = NoiseSchedule(zero_terminal_alphas(alphas) if zero_terminal else alphas)

    @property
    def dtype(self) -> torch.dtype:
        """Of the computation; weights may be stored in another."""
        model = self.objects.unet.model
        return model.manual_cast_dtype or model.get_dtype()

    def tokens(self, caption: str) -> list[int]:
        """Token ids of a caption, without begin and end; nothing in it is syntax."""
        return self.sd_model.cond_stage_model.tokenize([caption])[0]


class LdmPatchedXLModel(ForgeObjectsXLModel, LdmPatchedModel):
    """The same for SDXL."""

    def tokens(self, caption: str) -> list[int]:
        """Token ids of a caption for CLIP-L, without begin and end."""
        return self.sd_model.conditioner.embedders[0].tokenize([caption])[0]


def ldm_patched_model(sd_model: Any, ready: Callable[[str], None] = do_nothing) -> LdmPatchedModel:
    """The model of whichever family it is."""
    return (LdmPatchedXLModel if sd_model.is_sdxl else LdmPatchedModel)(sd_model, ready)
