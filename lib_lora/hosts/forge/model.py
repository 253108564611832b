"""Forge's Stable Diffusion models as ``models.base.LoadedModel``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from lib_lora.hosts.forge_objects.model import ForgeObjectsModel
from lib_lora.hosts.forge_objects.sdxl import ForgeObjectsXLModel
from lib_lora.hosts.webui.model import do_nothing
from lib_lora.models.schedule import FlowSchedule, NoiseSchedule, Schedule, zero_terminal_alphas

PREDICTIONS = {"epsilon": "epsilon", "v_prediction": "v", "const": "flow"}


class ForgeModel(ForgeObjectsModel):
    """``shared.sd_model``, a ``ForgeDiffusionEngine``. Arguments as :class:`ForgeObjectsModel`."""

    def __init__(self, sd_model: Any, ready: Callable[[str], None] = do_nothing):
        super().__init__(sd_model, ready)
        predictor = self.objects.unet.model.predictor
        self.prediction = PREDICTIONS[predictor.prediction_type]
        self.latent_scale = _latent_scale(self.vae)
        self.schedule: Schedule = FlowSchedule()
        if self.prediction == "flow":
            return
        with torch.inference_mode(False):
            alphas = predictor.alphas_cumprod.detach().float().cpu().clone()
        # Forge rescales only while it samples, and leaves the predictor as it is
        zero_terminal = getattr(sd_model.model_config, "ztsnr", False)
        self.schedule = NoiseSchedule(zero_terminal_alphas(alphas) if zero_terminal else alphas)

    @property
    def dtype(self) -> torch.dtype:
        """Of the computation; weights may be stored in another."""
        return self.objects.unet.model.computation_dtype

    def tokens(self, caption: str) -> list[int]:
        """Token ids of a caption, without begin and end; nothing in it is syntax."""
        return self.sd_model.text_processing_engine.tokenize([caption])[0]

    def prepare_embeddings(self, text_encoder: nn.Module) -> None:
        """In float32, as Forge has them whenever it encodes a prompt."""
        # transformers 5 has no inner ``text_model``
        embeddings = getattr(text_encoder, "text_model", text_encoder).embeddings
        embeddings.position_embedding.to(torch.float32)
        embeddings.token_embedding.to(torch.float32)


class ForgeXLModel(ForgeObjectsXLModel, ForgeModel):
    """The same for SDXL."""

    def tokens(self, caption: str) -> list[int]:
        """Token ids of a caption for CLIP-L, without begin and end."""
        return self.sd_model.text_processing_engine_l.tokenize([caption])[0]


def _latent_scale(vae: nn.Module) -> float:
    """By which the host multiplies what the VAE encodes; Forge keeps it on the VAE, Neo in the family's format."""
    own = getattr(vae, "scaling_factor", None)
    return float(vae.latent_format.scale_factor if own is None else own)
