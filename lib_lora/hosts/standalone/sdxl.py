"""An SDXL model made of diffusers and transformers modules."""

from __future__ import annotations

from torch import Tensor, nn

from lib_lora.hosts.sdxl import XLModel
from lib_lora.hosts.standalone.model import StandaloneModel, adaptable
from lib_lora.models.captions import EOS
from lib_lora.models.layers import kohya_key
from lib_lora.models.unet import XL


class StandaloneXLModel(XLModel, StandaloneModel):
    """Arguments as :class:`StandaloneModel`.

    ``text_encoder`` holds ``clip_l``, a ``CLIPTextModel``, and ``clip_g``, a ``CLIPTextModelWithProjection``.
    """

    latent_scale = 0.13025

    def layers(self, part: str | None = None) -> dict[str, nn.Module]:
        """Kohya key -> live module of ``"unet"``, ``"te"`` or (None) both, by the names of SDXL's LoRA files."""
        found: dict[str, nn.Module] = {}
        if part in (None, "unet"):
            for path, module in adaptable(self.unet):
                found[kohya_key("unet", XL.to_ldm(path))] = module
        if part in (None, "te"):
            for prefix, encoder in zip(("te1", "te2"), self._encoders, strict=True):
                found |= {kohya_key(prefix, path): m for path, m in adaptable(encoder) if path != "text_projection"}
        return found

    @property
    def _encoders(self) -> list[nn.Module]:
        return [self.text_encoder["clip_l"], self.text_encoder["clip_g"]]

    @property
    def _pooled_width(self) -> int:
        return self.text_encoder["clip_g"].config.projection_dim

    def _pad(self, encoder: nn.Module) -> int:
        return EOS if encoder is self.text_encoder["clip_l"] else 0

    def _encoded(self, encoder: nn.Module, ids: Tensor) -> tuple[Tensor, Tensor | None]:
        output = encoder(input_ids=ids, output_hidden_states=True)
        return output.hidden_states[-2], getattr(output, "text_embeds", None)

    def _unet_output_xl(self, x_t: Tensor, context: Tensor, vector: Tensor, t: Tensor) -> Tensor:
        return self.unet(x_t, t, encoder_hidden_states=context, class_labels=vector).sample
