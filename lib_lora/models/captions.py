"""Captions as the text encoder sees them: literal, in chunks of 75 tokens.

The layout is A1111's (``modules/sd_hijack_clip.py``), without its emphasis syntax: what a training caption says, the
model reads, parentheses included.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

BOS = 49406
EOS = 49407  # also the padding of SD1
COMMA = 267  # "," at the end of a word
CHUNK = 75
MAX_TOKENS = 225
COMMA_BACKTRACK = 20


def split_tokens(tokens: Sequence[int]) -> list[list[int]]:
    """Split a caption's tokens into chunks of at most 75; at least one chunk, which may be empty.

    A tag should not be torn apart: a full chunk breaks after its last comma if that is among its last 20 tokens.
    """
    chunks: list[list[int]] = [[]]
    last_comma = -1
    for token in tokens:
        chunk = chunks[-1]
        if token == COMMA:
            last_comma = len(chunk)
        elif len(chunk) == CHUNK and last_comma >= 0 and CHUNK - last_comma <= COMMA_BACKTRACK:
            chunks[-1], moved = chunk[: last_comma + 1], chunk[last_comma + 1 :]
            chunks.append(moved)
            last_comma = -1
        if len(chunks[-1]) == CHUNK:
            chunks.append([])
            last_comma = -1
        chunks[-1].append(token)
    return chunks


def chunk_ids(captions: Sequence[Sequence[int]], max_tokens: int = MAX_TOKENS, min_chunks: int = 1) -> Tensor:
    """Token ids for the text encoder.

    Args:
        captions: tokens of each caption, without begin and end.
        max_tokens: chunks beyond this many tokens are dropped; a multiple of 75.
        min_chunks: pad to at least so many chunks.

    Returns:
        int64 ``[B, n, 77]``: begin, 75 tokens padded with end, end. Shorter captions are padded with empty chunks.
    """
    limit = max(1, max_tokens // CHUNK)
    batch = [split_tokens(tokens)[:limit] for tokens in captions]
    count = max([min_chunks, *(len(chunks) for chunks in batch)])
    padded = [chunks + [[]] * (count - len(chunks)) for chunks in batch]
    return torch.tensor([[_framed(chunk) for chunk in chunks] for chunks in padded], dtype=torch.long)


def kohya_chunk_ids(captions: Sequence[Sequence[int]], max_tokens: int = MAX_TOKENS) -> Tensor:
    """Token ids as kohya's trainer lays them out: cut every 75 tokens, and always ``max_tokens`` long.

    Returns:
        int64 ``[B, max_tokens/75, 77]``.
    """
    starts = range(0, max_tokens, CHUNK)
    return torch.tensor([[_framed(t[i : i + CHUNK]) for i in starts] for t in captions], dtype=torch.long)


def chunk_weights(
    captions: Sequence[Sequence[int]], weights: Sequence[Sequence[float]], ids: Tensor, kohya: bool
) -> Tensor:
    """The weight of every id of :func:`chunk_ids` or :func:`kohya_chunk_ids`, [B, n, 77]; begin and end have 1.

    Args:
        captions: tokens, as given to that function.
        weights: one for each token.
    """
    laid = torch.ones(ids.shape)
    for row, tokens, values in zip(laid, captions, weights, strict=True):
        cuts = [tokens[i : i + CHUNK] for i in range(0, len(tokens), CHUNK)] if kohya else split_tokens(tokens)
        done = 0
        for line, chunk in zip(row, cuts):  # noqa: B905 — chunks beyond the limit were dropped
            line[1 : 1 + len(chunk)] = torch.tensor(values[done : done + len(chunk)])
            done += len(chunk)
    return laid


def _framed(chunk: Sequence[int]) -> list[int]:
    return [BOS, *chunk, *[EOS] * (CHUNK - len(chunk)), EOS]


def padded(ids: Tensor, pad: int) -> Tensor:
    """Rows of ids ``[…, 77]`` with ``pad`` behind the first end."""
    return ids if pad == EOS else ids.masked_fill((ids == EOS).cumsum(-1) > 1, pad)
