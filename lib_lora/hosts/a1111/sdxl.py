"""A1111's SDXL model as ``models.base.LoadedModel``: two text encoders, a pooled vector and sizes in pixels.

Source: Podell et al., "SDXL: Improving Latent Diffusion Models for High-Resolution Image Synthesis", 2023, sections 2.2
and 2.3; the modules are Stability-AI/generative-models' as A1111 wraps them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lib_lora.errors import UserError
from lib_lora.hosts.a1111.model import A1111Model
from lib_lora.hosts.live_layers import live_layers
from lib_lora.models.captions import EOS, MAX_TOKENS, chunk_ids

# the size embedders of ``conditioner`` -> what each reads of [original h, w, crop top, left, target h, w]
SIZES = {
    "original_size_as_tuple": slice(0, 2),
    "crop_coords_top_left": slice(2, 4),
    "target_size_as_tuple": slice(4, 6),
}
OPEN_CLIP_LAYER = re.compile(r"transformer\.resblocks\.(\d+)\.mlp\.c_(fc|proj)")
OPEN_CLIP_NAMES = {"fc": "fc1", "proj": "fc2"}


def is_complete(sd_model: Any) -> bool:
    """Whether it has both text encoders and the three sizes; the refiner has not."""
    embedders = sd_model.conditioner.embedders
    return SIZES.keys() <= {e.input_key for e in embedders} and sum(e.input_key == "txt" for e in embedders) == 2


class A1111XLModel(A1111Model):
    """``shared.sd_model``, an ``sgm.models.diffusion.DiffusionEngine``. Arguments as :class:`WebUIModel`.

    The conditioning is ``[B, 77·n, D + P]``: in each row the states of both text encoders and, behind them, the pooled
    vector of the caption's first chunk, the same in all rows.

    Of the second text encoder only the MLPs are offered as layers: its attention does not call its linear layers, so
    no hook would see them.
    """

    family = "sdxl"

    @property
    def text_encoder(self) -> nn.Module:
        """Both text encoders, and the embedders of the sizes, which have no weights."""
        return self.sd_model.conditioner

    @property
    def max_clip_skip(self) -> int:
        return 1  # SDXL was trained on the layer before the last, and the web UI always takes that one

    def layers(self, part: str | None = None) -> dict[str, nn.Module]:
        """Kohya key -> live module of ``"unet"``, ``"te"`` or (None) both, by the names of SDXL's LoRA files."""
        found: dict[str, nn.Module] = {}
        if part in (None, "unet"):
            found |= live_layers("unet", self.unet)
        if part in (None, "te"):
            first, second = self._text_encoders
            of_clip = live_layers("te", first.wrapped.transformer)
            found |= {key.replace("lora_te_", "lora_te1_", 1): module for key, module in of_clip.items()}
            found |= _open_clip_layers(second.wrapped.model)
        return found

    def encode_text(
        self,
        captions: Sequence[str],
        *,
        max_tokens: int = MAX_TOKENS,
        clip_skip: int = 1,
        min_chunks: int = 1,
        weighted: bool = False,
        kohya_layout: bool = False,
    ) -> Tensor:
        """Conditioning of literal captions, differentiable; ``clip_skip`` has no meaning here.

        Raises:
            UserError: weighted captions or kohya's layout, which are not there for SDXL.
        """
        if weighted or kohya_layout:
            what = "Weighted captions and kohya's chunks are not there for SDXL"
            raise UserError(what, where=self.name, fix="Switch them off under Captions")
        self._ready("te")
        ids = chunk_ids([self.tokens(c) for c in captions], max_tokens, min_chunks).to(self.device)
        with self._precision():
            states = [self._states(embedder, ids) for embedder in self._text_encoders]
        context = torch.cat([hidden for hidden, _ in states], dim=-1)
        pooled = states[-1][1][:, None].expand(-1, context.shape[1], -1)
        return torch.cat([context, pooled.to(context)], dim=-1)

    def predict(self, x_t: Tensor, t: Tensor, cond: Tensor, sizes: Tensor | None = None) -> Tensor:
        """The U-Net's raw output ``[B, 4, h, w]``, float32; without ``sizes`` those of an uncropped image."""
        self._ready("unet")
        x_t, t = x_t.to(self.dtype), t.to(x_t.device, torch.float32)
        if sizes is None:
            height, width = (side * self.latent_factor for side in x_t.shape[-2:])
            sizes = torch.tensor([[height, width, 0, 0, height, width]]).expand(len(x_t), -1)
        pooled_width = self._pooled_width
        context, pooled = cond[..., :-pooled_width], cond[:, 0, -pooled_width:]
        told = [e(sizes[:, SIZES[e.input_key]].to(x_t)) for e in self.sd_model.conditioner.embedders
                if e.input_key in SIZES]  # fmt: skip
        vector = torch.cat([pooled, *(part.to(pooled) for part in told)], dim=1)
        condition = {"crossattn": context.to(self.dtype), "vector": vector.to(self.dtype)}
        with self._precision():
            return self.sd_model.model(x_t, t, condition).float()

    @property
    def _text_encoders(self) -> list[Any]:
        """CLIP ViT-L and OpenCLIP ViT-bigG in the web UI's wrappers."""
        return [e for e in self.sd_model.conditioner.embedders if e.input_key == "txt"]

    @property
    def _pooled_width(self) -> int:
        return self._text_encoders[-1].wrapped.model.text_projection.shape[1]

    def _states(self, embedder: Any, ids: Tensor) -> tuple[Tensor, Tensor | None]:
        """Hidden states ``[B, 77·n, D]`` of ids ``[B, n, 77]``, and the first chunk's pooled vector ``[B, P]``."""
        if embedder.id_pad != EOS:
            ids = ids.masked_fill((ids == EOS).cumsum(-1) > 1, embedder.id_pad)
        z = embedder.encode_with_transformers(ids.flatten(0, 1))
        pooled = getattr(z, "pooled", None)
        if pooled is not None:
            pooled = pooled.reshape(*ids.shape[:2], -1)[:, 0]
        return z.reshape(len(ids), -1, z.shape[-1]), pooled

    def _posterior_mean(self, pixels: Tensor) -> Tensor:
        # its own encode() draws a sample
        return self.vae.quant_conv(self.vae.encoder(pixels)).chunk(2, dim=1)[0]


def _open_clip_layers(model: nn.Module) -> dict[str, nn.Module]:
    found = {}
    for path, module in model.named_modules():
        if match := OPEN_CLIP_LAYER.fullmatch(path):
            name = f"mlp_{OPEN_CLIP_NAMES[match[2]]}"
            found[f"lora_te2_text_model_encoder_layers_{match[1]}_{name}"] = module
    return found
