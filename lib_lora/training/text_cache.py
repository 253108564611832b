"""Conditionings of captions that will be seen again unchanged."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lib_lora.models.base import LoadedModel


class TextCache:
    """Encodes each caption once, alone, so the result does not depend on what it is batched with.

    Only for a text encoder that is not trained; shuffled captions would fill it without ever being found again.

    Args:
        options: of ``encode_text``.
    """

    def __init__(self, model: LoadedModel, **options: Any):
        self.model = model
        self.options = options
        self.known: dict[str, Tensor] = {}

    def encode(self, captions: list[str], min_chunks: int = 1) -> Tensor:
        """[B, 77·n, D]; shorter captions are filled up with the chunk of the empty caption, as hosts do."""
        conds = [self._one(caption) for caption in captions]
        length = max(77 * min_chunks, *(cond.shape[1] for cond in conds))
        return torch.cat([self._filled(cond, length) for cond in conds])

    def _one(self, caption: str) -> Tensor:
        if caption not in self.known:
            with torch.no_grad():
                self.known[caption] = self.model.encode_text([caption], **self.options)
        return self.known[caption]

    def _filled(self, cond: Tensor, length: int) -> Tensor:
        missing = (length - cond.shape[1]) // 77
        return torch.cat([cond, *[self._one("")] * missing], dim=1)
