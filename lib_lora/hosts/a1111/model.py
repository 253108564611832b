"""A1111's Stable Diffusion 1.x model as ``models.base.LoadedModel``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from modules import devices
from torch import Tensor, nn

from lib_lora.hosts.webui.model import WebUIModel, do_nothing
from lib_lora.models.schedule import NoiseSchedule
from lib_lora.models.weights import FP8


class A1111Model(WebUIModel):
    """``shared.sd_model``, an ``ldm.models.diffusion.ddpm.LatentDiffusion``. Arguments as :class:`WebUIModel`."""

    def __init__(self, sd_model: Any, ready: Callable[[str], None] = do_nothing):
        super().__init__(sd_model, ready)
        self.prediction = "v" if sd_model.parameterization == "v" else "epsilon"
        self.latent_scale = float(sd_model.scale_factor)
        # the settings may have rounded or rescaled the schedule in use; the original is what the model was trained on
        alphas = getattr(sd_model, "alphas_cumprod_original", sd_model.alphas_cumprod)
        self.schedule = NoiseSchedule(alphas.detach().float().cpu().clone())

    @property
    def dtype(self) -> torch.dtype:
        """What the U-Net is given; the web UI computes in that, or casts it, where the weights are stored in fp8."""
        return devices.dtype_unet if self._in_fp8 else super().dtype

    @property
    def _in_fp8(self) -> bool:
        """The setting *FP8 weight*: linear layers and convolutions of U-Net and text encoder, with their biases."""
        return next(self.unet.parameters()).dtype in FP8

    @property
    def unet(self) -> nn.Module:
        """ldm's or sgm's U-Net, where it is at present."""
        return self.sd_model.model.diffusion_model

    @property
    def vae(self) -> nn.Module:
        """ldm's or sgm's first stage."""
        return self.sd_model.first_stage_model

    @property
    def text_encoder(self) -> nn.Module:
        """The ``CLIPTextModel`` inside the web UI's two wrappers."""
        return self.sd_model.cond_stage_model.wrapped.transformer

    @property
    def device(self) -> torch.device:
        """Where the web UI computes, though a part may wait elsewhere."""
        return devices.device

    @property
    def movable(self) -> dict[str, nn.Module]:
        """``"unet"``, ``"te"`` and ``"vae"`` as the modules that the web UI moves as a whole under ``--medvram``."""
        m = self.sd_model
        return {"unet": m.model, "te": m.cond_stage_model.wrapped, "vae": m.first_stage_model}

    def tokens(self, caption: str) -> list[int]:
        """Token ids of a caption, without begin and end; nothing in it is syntax."""
        return self.sd_model.cond_stage_model.tokenize([caption])[0]

    def _unet_output(self, x_t: Tensor, t: Tensor, cond: Tensor) -> Tensor:
        return self.sd_model.model(x_t, t, c_crossattn=[cond])

    def _posterior_mean(self, pixels: Tensor) -> Tensor:
        return self.sd_model.encode_first_stage(pixels).mode()

    def _decoded(self, latents: Tensor) -> Tensor:
        return self.sd_model.decode_first_stage(latents)

    @contextmanager
    def _vae_in_float32(self) -> Iterator[None]:
        before = devices.dtype_vae  # to which the web UI casts what it gives to the VAE
        devices.dtype_vae = torch.float32
        try:
            with super()._vae_in_float32():
                yield
        finally:
            devices.dtype_vae = before

    def _needs_autocast(self) -> bool:
        return self._in_fp8 or super()._needs_autocast()

    def _autocast(self) -> AbstractContextManager[Any]:
        return devices.autocast()
