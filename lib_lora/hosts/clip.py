"""Literal captions through a CLIP text model, the same in every host."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lib_lora.errors import UserError
from lib_lora.models.captions import CHUNK, MAX_TOKENS, chunk_ids, chunk_weights, kohya_chunk_ids, split_tokens
from lib_lora.models.emphasis import weighted_tokens
from lib_lora.models.transfer import sent


@dataclass(frozen=True)
class TextOptions:
    """How captions are encoded.

    Attributes:
        max_tokens: what is beyond is dropped; a multiple of 75.
        clip_skip: 1 is the last layer of the text encoder, 2 the one before.
        min_chunks: pad with empty chunks to at least so many.
        weighted: captions have weights, as prompts have; they multiply the states (kohya's ``weighted_captions``).
        kohya_layout: ``max_tokens`` + 2 states, without begin and end between the chunks.
    """

    max_tokens: int = MAX_TOKENS
    clip_skip: int = 1
    min_chunks: int = 1
    weighted: bool = False
    kohya_layout: bool = False


class CaptionEncoder(ABC):
    """The part of :class:`lib_lora.models.base.LoadedModel` that reads captions, of a model with CLIP's tokens."""

    text_encoder: nn.Module
    max_clip_skip: int

    @abstractmethod
    def tokens(self, caption: str) -> list[int]:
        """Token ids of a caption, without begin and end; nothing in it is syntax."""

    def token_count(self, caption: str) -> int:
        """Tokens of a caption, without begin, end and padding."""
        return len(self.tokens(caption))

    def chunk_count(self, caption: str) -> int:
        """Chunks of 75 tokens that a caption needs."""
        return min(len(split_tokens(self.tokens(caption))), MAX_TOKENS // CHUNK)

    def put_text_away(self, away: bool) -> None:  # noqa: B027 — one of many, and most need not do more
        """Nothing: CLIP is small."""

    def encode_text(self, captions: Sequence[str], **options: Any) -> Tensor:
        """Conditioning ``[B, 77·n, D]`` of captions, differentiable; ``options`` are :class:`TextOptions`'."""
        return self._conditioning(captions, TextOptions(**options))

    def _conditioning(self, captions: Sequence[str], options: TextOptions) -> Tensor:
        """As :meth:`encode_text`; in kohya's layout ``[B, 75·n + 2, D]``.

        The text encoder sees ``B·n`` rows, the chunks of one caption beside each other.

        Raises:
            UserError: ``clip_skip`` is not in 1 … number of layers.
        """
        clip_skip, weighted, kohya_layout = options.clip_skip, options.weighted, options.kohya_layout
        if not 1 <= clip_skip <= self.max_clip_skip:
            raise UserError("There is no such layer", where=f"clip skip {clip_skip}", fix=f"1 to {self.max_clip_skip}")
        read = [weighted_tokens(text, self.tokens) if weighted else (self.tokens(text), []) for text in captions]
        rows = [ids for ids, _ in read]
        most = options.max_tokens
        ids = kohya_chunk_ids(rows, most) if kohya_layout else chunk_ids(rows, most, options.min_chunks)
        device = self._text_device()
        states = self._hidden(sent(ids.flatten(0, 1), device), clip_skip)
        states = states.reshape(*ids.shape, states.shape[-1])
        if weighted:
            weights = chunk_weights(rows, [w for _, w in read], ids, kohya_layout)[..., None]
            states = states * sent(weights.to(states.dtype), device)
        return _without_inner_ends(states) if kohya_layout else states.flatten(1, 2)

    def _text_device(self) -> torch.device:
        """Where the text encoder computes."""
        return next(self.text_encoder.parameters()).device

    def _hidden(self, ids: Tensor, clip_skip: int) -> Tensor:
        """States ``[b, 77, D]`` of ids ``[b, 77]``; here of a ``CLIPTextModel``."""
        text_encoder = self.text_encoder
        if clip_skip == 1:
            return text_encoder(input_ids=ids).last_hidden_state
        states = text_encoder(input_ids=ids, output_hidden_states=True).hidden_states
        # transformers 4 nests the encoder in ``text_model``, transformers 5 does not
        return getattr(text_encoder, "text_model", text_encoder).final_layer_norm(states[-clip_skip])


def _without_inner_ends(states: Tensor) -> Tensor:
    """[B, n, 77, D] -> [B, 75·n + 2, D]: the first begin, all tokens, the last end."""
    return torch.cat([states[:, 0, :1], states[:, :, 1:-1].flatten(1, 2), states[:, -1, -1:]], dim=1)
