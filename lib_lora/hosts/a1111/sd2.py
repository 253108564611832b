"""A1111's Stable Diffusion 2.x model: the U-Net of 1.x with OpenCLIP's text transformer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor, nn

from lib_lora.hosts.a1111.model import A1111Model
from lib_lora.hosts.a1111.open_clip import open_clip_layers
from lib_lora.hosts.clip import TextOptions
from lib_lora.models.captions import padded


class A1111SD2Model(A1111Model):
    """``shared.sd_model``, an ``ldm.models.diffusion.ddpm.LatentDiffusion``. Arguments as :class:`WebUIModel`.

    ``clip_skip`` has no meaning here.
    """

    family = "sd2"
    max_clip_skip = 1  # always the layer before the last, on which it was trained

    @property
    def text_encoder(self) -> nn.Module:
        """The ``open_clip.CLIP`` inside the web UI's two wrappers, without its image tower."""
        return self.sd_model.cond_stage_model.wrapped.model

    def _text_layers(self) -> dict[str, nn.Module]:
        return open_clip_layers("te", self.text_encoder)

    def _conditioning(self, captions: Sequence[str], options: TextOptions) -> Tensor:
        return super()._conditioning(captions, replace(options, clip_skip=1))

    def _hidden(self, ids: Tensor, clip_skip: int) -> Tensor:
        encoder = self.sd_model.cond_stage_model
        return encoder.encode_with_transformers(padded(ids, encoder.id_pad))
