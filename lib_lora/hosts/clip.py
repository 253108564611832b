"""Literal captions through a CLIP text model of transformers, the same in every host."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from lib_lora.errors import UserError
from lib_lora.models.captions import CHUNK, MAX_TOKENS, chunk_ids, split_tokens


def chunk_count(tokens: Sequence[int]) -> int:
    """Chunks of 75 tokens that a caption needs."""
    return min(len(split_tokens(tokens)), MAX_TOKENS // CHUNK)


def encode(
    text_encoder: nn.Module,
    captions: Sequence[Sequence[int]],
    *,
    max_tokens: int = MAX_TOKENS,
    clip_skip: int = 1,
    min_chunks: int = 1,
    device: object = None,
) -> Tensor:
    """Conditioning of captions, differentiable.

    Args:
        text_encoder: a ``CLIPTextModel``.
        captions: token ids of B captions, without begin and end.
        max_tokens: what is beyond is dropped; a multiple of 75.
        clip_skip: 1 is the last layer of the text encoder, 2 the one before.
        min_chunks: pad with empty chunks to at least so many.
        device: where the token ids go.

    Returns:
        ``[B, 77·n, D]``; the text encoder sees ``B·n`` rows, the chunks of one caption beside each other.

    Raises:
        UserError: ``clip_skip`` is not in 1 … number of layers.
    """
    layers = text_encoder.config.num_hidden_layers
    if not 1 <= clip_skip <= layers:
        raise UserError("There is no such layer", where=f"clip skip {clip_skip}", fix=f"1 to {layers}")
    ids = chunk_ids(captions, max_tokens, min_chunks).to(device)
    states = _hidden(text_encoder, ids.flatten(0, 1), clip_skip)
    return states.reshape(ids.shape[0], -1, states.shape[-1])


def _hidden(text_encoder: nn.Module, ids: Tensor, clip_skip: int) -> Tensor:
    if clip_skip == 1:
        return text_encoder(input_ids=ids).last_hidden_state
    states = text_encoder(input_ids=ids, output_hidden_states=True).hidden_states
    # transformers 4 nests the encoder in ``text_model``, transformers 5 does not
    return getattr(text_encoder, "text_model", text_encoder).final_layer_norm(states[-clip_skip])
