"""A1111's SDXL model: Stability-AI/generative-models' modules as A1111 wraps them."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from lib_lora.hosts.a1111.model import A1111Model
from lib_lora.hosts.a1111.open_clip import open_clip_layers
from lib_lora.hosts.live_layers import live_layers
from lib_lora.hosts.webui.sdxl import WebUIXLModel

SIZES = {"original_size_as_tuple", "crop_coords_top_left", "target_size_as_tuple"}  # embedders of ``conditioner``


def is_complete(sd_model: Any) -> bool:
    """Whether it has both text encoders and the three sizes; the refiner has not."""
    embedders = sd_model.conditioner.embedders
    return {e.input_key for e in embedders} >= SIZES and sum(e.input_key == "txt" for e in embedders) == 2


class A1111XLModel(WebUIXLModel, A1111Model):
    """``shared.sd_model``, an ``sgm.models.diffusion.DiffusionEngine``. Arguments as :class:`WebUIModel`."""

    @property
    def text_encoder(self) -> nn.Module:
        """Both text encoders, and the embedders of the sizes, which have no weights."""
        return self.sd_model.conditioner

    def _text_layers(self) -> dict[str, nn.Module]:
        first, second = self._encoders
        return live_layers("te1", first.wrapped.transformer) | open_clip_layers("te2", second.wrapped.model)

    @property
    def movable(self) -> dict[str, nn.Module]:
        """As of SD1; both text encoders move together."""
        return super().movable | {"te": self.sd_model.conditioner}

    @property
    def _encoders(self) -> list[Any]:
        """In the web UI's wrappers."""
        return [e for e in self.sd_model.conditioner.embedders if e.input_key == "txt"]

    @property
    def _pooled_width(self) -> int:
        return self._encoders[-1].wrapped.model.text_projection.shape[1]

    def _pad(self, encoder: Any) -> int:
        return encoder.id_pad

    def _encoded(self, encoder: Any, ids: Tensor) -> tuple[Tensor, Tensor | None]:
        z = encoder.encode_with_transformers(ids)
        return z, getattr(z, "pooled", None)

    def _unet_output_xl(self, x_t: Tensor, context: Tensor, vector: Tensor, t: Tensor) -> Tensor:
        return self.sd_model.model(x_t, t, {"crossattn": context, "vector": vector})

    def _posterior_mean(self, pixels: Tensor) -> Tensor:
        # its own encode() draws a sample
        return self.vae.quant_conv(self.vae.encoder(pixels)).chunk(2, dim=1)[0]
