"""What SDXL is in every host: two text encoders, a pooled vector and sizes in pixels.

Source: Podell et al., "SDXL: Improving Latent Diffusion Models for High-Resolution Image Synthesis", 2023, sections 2.2
and 2.3.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

from lib_lora.errors import UserError
from lib_lora.hosts.clip import TextOptions
from lib_lora.models.captions import chunk_ids, padded
from lib_lora.models.transfer import sent

SIZE_WIDTH = 256  # of the embedding of one number


class XLModel(ABC):
    """To be mixed into a host's own model of one text encoder, whose ``tokens`` serve both here.

    The conditioning is ``[B, 77·n, D + P]``: in each row the states of both text encoders and, behind them, the pooled
    vector of the caption's first chunk, the same in all rows.
    """

    family = "sdxl"
    name: str
    device: torch.device
    dtype: torch.dtype
    latent_factor: int
    tokens: Callable[[str], list[int]]
    _text_device: Callable[[], torch.device]

    @property
    def max_clip_skip(self) -> int:
        """1: the layer is given by how SDXL was trained."""
        return 1  # SDXL was trained on the layer before the last, and that is what hosts take

    def _conditioning(self, captions: Sequence[str], options: TextOptions) -> Tensor:
        """Of literal captions; ``clip_skip`` has no meaning here.

        Raises:
            UserError: weighted captions or kohya's layout, which are not there for SDXL.
        """
        if options.weighted or options.kohya_layout:
            what = "Weighted captions and kohya's chunks are not there for SDXL"
            raise UserError(what, where=self.name, fix="Switch them off under Captions")
        rows = [self.tokens(caption) for caption in captions]
        ids = sent(chunk_ids(rows, options.max_tokens, options.min_chunks), self._text_device())
        with self._using("te"):
            states = [self._states(encoder, ids) for encoder in self._encoders]
        context = torch.cat([hidden for hidden, _ in states], dim=-1)
        pooled = states[-1][1][:, None].expand(-1, context.shape[1], -1)
        return torch.cat([context, pooled.to(context)], dim=-1)

    def predict(self, x_t: Tensor, t: Tensor, cond: Tensor, sizes: Tensor | None = None) -> Tensor:
        """The U-Net's raw output ``[B, 4, h, w]``, float32.

        Args:
            sizes: ``[B, 6]`` pixels: original height and width, top and left of the crop, target height and width;
                by default those of an uncropped image.
        """
        if sizes is None:
            height, width = (side * self.latent_factor for side in x_t.shape[-2:])
            sizes = torch.tensor([[height, width, 0, 0, height, width]]).expand(len(x_t), -1)
        context, pooled = cond[..., : -self._pooled_width], cond[:, 0, -self._pooled_width :]
        vector = torch.cat([pooled, size_embedding(sent(sizes, pooled.device)).to(pooled)], dim=1)
        with self._using("unet"):
            t = t.to(x_t.device, torch.float32)
            inputs = (x.to(x_t.device, self.dtype) for x in (x_t, context, vector))  # the text may be encoded elsewhere
            return self._unet_output_xl(*inputs, t).float()

    def _using(self, part: str) -> AbstractContextManager[Any]:
        """While ``"unet"`` or ``"te"`` computes."""
        return nullcontext()

    def _states(self, encoder: Any, ids: Tensor) -> tuple[Tensor, Tensor | None]:
        """Hidden states ``[B, 77·n, D]`` of ids ``[B, n, 77]``, and the first chunk's pooled vector ``[B, P]``."""
        ids = padded(ids, self._pad(encoder))
        hidden, pooled = self._encoded(encoder, ids.flatten(0, 1))
        if pooled is not None:
            pooled = pooled.reshape(*ids.shape[:2], -1)[:, 0]
        return hidden.reshape(len(ids), -1, hidden.shape[-1]), pooled

    @property
    @abstractmethod
    def _encoders(self) -> list[Any]:
        """CLIP ViT-L and OpenCLIP ViT-bigG, as the host has them."""

    @property
    @abstractmethod
    def _pooled_width(self) -> int:
        """P."""

    @abstractmethod
    def _pad(self, encoder: Any) -> int:
        """The token that fills up a chunk behind its end."""

    @abstractmethod
    def _encoded(self, encoder: Any, ids: Tensor) -> tuple[Tensor, Tensor | None]:
        """Penultimate states ``[b, 77, D]`` of ids ``[b, 77]``, and of the second encoder the pooled vector."""

    @abstractmethod
    def _unet_output_xl(self, x_t: Tensor, context: Tensor, vector: Tensor, t: Tensor) -> Tensor:
        """``vector`` ``[B, P + 6·256]``: the pooled vector and the embedded sizes."""


def size_embedding(sizes: Tensor) -> Tensor:
    """Sinusoidal embeddings ``[B, 6·256]``, float32, of six numbers each, cosines first."""
    half = SIZE_WIDTH // 2
    frequencies = torch.exp(-math.log(10000) / half * torch.arange(half, device=sizes.device))
    angles = sizes.float()[..., None] * frequencies
    return torch.cat([angles.cos(), angles.sin()], dim=-1).flatten(1)
