"""Captions of the training world as token ids, on a compact vocabulary."""

from __future__ import annotations

import random

import torch
from torch import Tensor

from ...hosts.standalone.tokenizer import clip_tokenizer
from ...hosts.standalone.tokens import UNUSED_ROW_SCALE
from ...models.captions import BOS, CHUNK, COMMA, EOS
from ..world import Spec, all_tags, tags

JUNK = 256  # rows that stand for words the model was never taught
DROP_ALL = 0.1  # classifier-free guidance needs the empty caption
DROP_TAG = 0.08
SHUFFLE = 0.5
UNKNOWN_WORDS = 0.12  # share of captions that carry a few untrained words, as a LoRA's trigger will be


class CaptionTable:
    """Maps specs to rows of a compact embedding: trained words first, then ``JUNK`` fixed random rows."""

    def __init__(self) -> None:
        tokenizer = clip_tokenizer()
        self._words = {t: tokenizer(t, add_special_tokens=False)["input_ids"] for t in all_tags()}
        self.token_ids = sorted({i for ids in self._words.values() for i in ids} | {BOS, EOS, COMMA})
        self._row = {token: row for row, token in enumerate(self.token_ids)}
        self.size = len(self.token_ids) + JUNK

    def caption(self, spec: Spec, r: random.Random) -> list[str]:
        """Tags of one training view of ``spec``: sometimes none, usually most, half the time shuffled."""
        if r.random() < DROP_ALL:
            return []
        head, rest = [], []
        for t in tags(spec):
            (head if t[0].isdigit() or t == "solo" else rest).append(t)
        rest = [t for t in rest if r.random() >= DROP_TAG]
        if r.random() < SHUFFLE:
            r.shuffle(rest)
        return head + rest

    def rows(self, captions: list[list[str]], r: random.Random | None = None) -> Tensor:
        """Row numbers [b, 77]; with ``r`` given, unknown words are mixed in."""
        return torch.tensor([self._rows(c, r) for c in captions])

    def _rows(self, caption: list[str], r: random.Random | None) -> list[int]:
        parts = [[self._row[i] for i in self._words[t]] for t in caption]
        if r is not None and parts and r.random() < UNKNOWN_WORDS:
            junk = [self.size - 1 - r.randrange(JUNK) for _ in range(r.randint(1, 3))]
            parts.insert(r.randrange(len(parts) + 1), junk)
        comma, end = self._row[COMMA], self._row[EOS]
        flat = [i for k, part in enumerate(parts) for i in ([comma] if k else []) + part][:CHUNK]
        return [self._row[BOS], *flat, *[end] * (CHUNK + 1 - len(flat))]

    def prepare_embedding(self, weight: torch.nn.Parameter) -> None:
        """Draw the rows at the scale of untrained words and keep the junk rows out of training."""
        with torch.no_grad():
            weight.normal_(0, UNUSED_ROW_SCALE)
        trained = torch.ones(self.size, 1)
        trained[-JUNK:] = 0
        weight.register_hook(lambda grad: grad * trained)
