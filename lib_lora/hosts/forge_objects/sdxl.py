"""SDXL in ``forge_objects``."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from lib_lora.hosts.forge_objects.model import ForgeObjectsModel
from lib_lora.hosts.live_layers import live_layers
from lib_lora.hosts.webui.sdxl import WebUIXLModel
from lib_lora.models.captions import EOS

PADS = {"clip_l": EOS, "clip_g": 0}  # what fills up a chunk behind its end
PROJECTION = "lora_te2_text_model_text_projection"


class ForgeObjectsXLModel(WebUIXLModel, ForgeObjectsModel):
    """Both text encoders are ``CLIPTextModel``, so all their layers are offered."""

    @property
    def text_encoder(self) -> nn.Module:
        """The module that holds both."""
        return self.objects.clip.cond_stage_model

    def _text_layers(self) -> dict[str, nn.Module]:
        found: dict[str, nn.Module] = {}
        for prefix, name in (("te1", "clip_l"), ("te2", "clip_g")):
            found |= live_layers(prefix, self._transformer(name))
        found.pop(PROJECTION, None)  # Forge has it among the text encoder's own; no trainer adapts it
        return found

    def _transformer(self, name: str) -> nn.Module:
        return getattr(self.text_encoder, name).transformer

    @property
    def _encoders(self) -> list[Any]:
        return list(PADS)

    @property
    def _pooled_width(self) -> int:
        return self._transformer("clip_g").config.hidden_size

    def _pad(self, encoder: str) -> int:
        return PADS[encoder]

    def _encoded(self, encoder: str, ids: Tensor) -> tuple[Tensor, Tensor | None]:
        output = self._transformer(encoder)(input_ids=ids, output_hidden_states=True)
        pooled = self._projected(output.pooler_output) if encoder == "clip_g" else None
        return output.hidden_states[-2], pooled

    def _projected(self, pooled: Tensor) -> Tensor:
        projection = getattr(self._transformer("clip_g"), "text_projection", None)
        if projection is not None:
            return projection(pooled)
        matrix = self.text_encoder.clip_g.text_projection  # Forge-Classic
        return pooled.float() @ matrix.float()

    def _unet_output_xl(self, x_t: Tensor, context: Tensor, vector: Tensor, t: Tensor) -> Tensor:
        context, vector = context.to(x_t.device), vector.to(x_t.device)
        return self.unet(x_t, t, context=context, y=vector, transformer_options={})

    def prepare_text_encoder(self) -> None:
        """As of SD1, to both text encoders."""
        for name in PADS:
            self.prepare_embeddings(self._transformer(name))
