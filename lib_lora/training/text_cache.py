"""Conditionings of captions that will be seen again unchanged."""

from __future__ import annotations

import torch
from torch import Tensor

from lib_lora.models.base import LoadedModel


class TextCache:
    """Encodes each caption once, alone, so the result does not depend on what it is batched with.

    Only for a text encoder that is not trained; shuffled captions would fill it without ever being found again.
    """

    def __init__(self, model: LoadedModel, *, max_tokens: int, clip_skip: int):
        self.model = model
        self.options = {"max_tokens": max_tokens, "clip_skip": clip_skip}
        self.known: dict[str, Tensor] = {}

    def encode(self, captions: list[str]) -> Tensor:
        """[B, 77·n, D]; shorter captions are filled up with the chunk of the empty caption, as hosts do."""
        conds = [self._one(caption) for caption in captions]
        length = max(cond.shape[1] for cond in conds)
        return torch.cat([self._filled(cond, length) for cond in conds])

    def _one(self, caption: str) -> Tensor:
        if caption not in self.known:
            with torch.no_grad():
                self.known[caption] = self.model.encode_text([caption], **self.options)
        return self.known[caption]

    def _filled(self, cond: Tensor, length: int) -> Tensor:
        missing = (length - cond.shape[1]) // 77
        return torch.cat([cond, *[self._one("")] * missing], dim=1)
