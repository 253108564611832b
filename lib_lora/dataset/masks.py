"""Which part of a picture counts: mask files, or the picture's own transparency."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from lib_lora.dataset.images import fit, load_rgb, load_rgba
from lib_lora.dataset.scan import Item
from lib_lora.dataset.views import View

MEMORY_LIMIT = 64 << 20  # bytes of masks held in memory


class Masks:
    """The weight of each latent of a picture, from 0 (ignored) to 1; made once a run and kept while there is room.

    Args:
        kind: ``"files"`` or ``"alpha"``.
    """

    def __init__(self, kind: str):
        self.kind = kind
        self._memory: dict[tuple[Path, int], Tensor] = {}
        self._held = 0

    def batch(self, items: Sequence[tuple[Item, View]], size: tuple[int, int]) -> Tensor:
        """[B, 1, h, w] for items of one bucket and how they are seen; ``size`` is that of the latents."""
        masks = [(self._get(item, view, size), view.flipped) for item, view in items]
        return torch.stack([mask.flip(-1) if flipped else mask for mask, flipped in masks])

    def _get(self, item: Item, view: View, size: tuple[int, int]) -> Tensor:
        asked = (item.path, view.crop)
        if (known := self._memory.get(asked)) is not None:
            return known
        mask = self._read(item, view, size)
        if self._held + mask.nbytes <= MEMORY_LIMIT:
            self._memory[asked] = mask
            self._held += mask.nbytes
        return mask

    def _read(self, item: Item, view: View, size: tuple[int, int]) -> Tensor:
        """[1, h, w], cut like the picture, then averaged over the pixels of each latent; all ones without a mask."""
        if self.kind == "alpha":
            grey = load_rgba(item.path).getchannel("A")
        elif item.mask_path is not None:
            grey = load_rgb(item.mask_path).convert("L").resize(item.size, Image.Resampling.BILINEAR)
        else:
            return torch.ones(1, *size)
        pixels = torch.from_numpy(np.array(fit(grey, item.bucket, view.place), dtype=np.float32)) / 255
        return F.interpolate(pixels[None, None], size, mode="area")[0]
