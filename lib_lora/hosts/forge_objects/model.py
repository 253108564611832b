"""A model in ``forge_objects`` as ``models.base.LoadedModel``."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn

from lib_lora.hosts.precision import autocast
from lib_lora.hosts.webui.model import WebUIModel, do_nothing

TEXT_ENCODERS = ("clip_l", "clip_h")  # SD1's and SD2's


class ForgeObjectsModel(WebUIModel):
    """Arguments as :class:`WebUIModel`.

    The objects without anybody's patches are used: LoRAs and the effects of other extensions are in clones of them.
    """

    def __init__(self, sd_model: Any, ready: Callable[[str], None] = do_nothing):
        self.objects = sd_model.forge_objects_original
        super().__init__(sd_model, ready)

    @property
    def patchers(self) -> dict[str, Any]:
        """What the memory manager calls the U-Net, the text encoder and the VAE."""
        o = self.objects
        return {"unet": o.unet, "te": o.clip.patcher, "vae": o.vae.patcher}

    @property
    def unet(self) -> nn.Module:
        """The model inside Forge's patcher."""
        return self.objects.unet.model.diffusion_model

    @property
    def vae(self) -> nn.Module:
        """The first stage inside Forge's patcher."""
        return self.objects.vae.first_stage_model

    @property
    def text_encoder(self) -> nn.Module:
        """The ``CLIPTextModel``."""
        encoders = self.objects.clip.cond_stage_model
        return next(getattr(encoders, name) for name in TEXT_ENCODERS if hasattr(encoders, name)).transformer

    @property
    def device(self) -> torch.device:
        """Where the U-Net computes, though it may wait elsewhere."""
        return self.objects.unet.load_device

    def device_of(self, part: str) -> torch.device:
        """Where a part (``"unet"``, ``"te"`` or ``"vae"``) computes."""
        return self.patchers[part].load_device

    def prepare_text_encoder(self) -> None:
        """What the host does to the text encoder before each prompt."""
        self.prepare_embeddings(self.text_encoder)

    def prepare_embeddings(self, text_encoder: nn.Module) -> None:
        """The same to one ``CLIPTextModel``."""

    def _unet_output(self, x_t: Tensor, t: Tensor, cond: Tensor) -> Tensor:
        # the host's default for transformer_options is one dictionary for all calls, and it writes into that
        return self.unet(x_t, t, context=cond.to(x_t.device), transformer_options={})

    def _posterior_mean(self, pixels: Tensor) -> Tensor:
        return self.vae.quant_conv(self.vae.encoder(pixels)).chunk(2, dim=1)[0]

    def _decoded(self, latents: Tensor) -> Tensor:
        return self.vae.decode(latents / self.latent_scale)

    def _autocast(self) -> AbstractContextManager[Any]:
        return autocast(self.device, self.dtype)
