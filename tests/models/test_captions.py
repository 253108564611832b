from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lib_lora.models.captions import BOS, CHUNK, COMMA, EOS, chunk_ids, split_tokens

WORD = 1000
tokens = st.lists(st.one_of(st.just(COMMA), st.integers(300, 49000)), max_size=400)


@given(tokens)
def test_no_token_is_lost_and_no_chunk_is_too_long(caption: list[int]):
    chunks = split_tokens(caption)
    assert [token for chunk in chunks for token in chunk] == caption
    assert all(len(chunk) <= CHUNK for chunk in chunks)
    assert all(chunks) or chunks == [[]]


@given(st.lists(tokens, min_size=1, max_size=4), st.sampled_from([75, 150, 225]))
def test_every_chunk_is_framed(captions: list[list[int]], limit: int):
    ids = chunk_ids(captions, limit)
    assert ids.shape[0] == len(captions) and ids.shape[2] == 77 and 1 <= ids.shape[1] <= limit // 75
    assert (ids[..., 0] == BOS).all() and (ids[..., -1] == EOS).all()
    for row, caption in zip(ids, captions, strict=True):
        content = [token for token in row[:, 1:-1].flatten().tolist() if token != EOS]
        assert content == caption[: len(content)]


def test_a_tag_is_moved_to_the_next_chunk_whole():
    caption = [WORD] * 60 + [COMMA] + [WORD + 1] * 20
    assert split_tokens(caption) == [[WORD] * 60 + [COMMA], [WORD + 1] * 20]


def test_a_comma_further_back_than_20_tokens_is_ignored():
    caption = [WORD] * 50 + [COMMA] + [WORD + 1] * 30
    assert [len(chunk) for chunk in split_tokens(caption)] == [75, 6]


def test_a_comma_at_the_break_opens_the_next_chunk_as_in_a1111():
    assert split_tokens([WORD] * 75 + [COMMA, WORD]) == [[WORD] * 75, [COMMA, WORD]]


def test_batch_is_padded_with_empty_chunks():
    ids = chunk_ids([[WORD], [WORD] * 100], min_chunks=1)
    assert ids.shape == (2, 2, 77)
    assert ids[0, 1].tolist() == [BOS] + [EOS] * 76
    assert chunk_ids([[]], min_chunks=3).shape == (1, 3, 77)


@pytest.mark.parametrize(("limit", "chunks"), [(75, 1), (150, 2), (225, 3)])
def test_what_is_beyond_the_limit_is_dropped(limit: int, chunks: int):
    ids = chunk_ids([[WORD] * 1000], limit)
    assert ids.shape == (1, chunks, 77) and torch.equal(ids[0, 0, 1:76], torch.full((75,), WORD))
