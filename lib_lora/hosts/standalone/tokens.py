"""Compact token embeddings: a small model stores only the rows that its training ever used."""

from __future__ import annotations

import torch
from torch import Tensor

from lib_lora.models.layers import CLIP_PREFIX

FULL_VOCAB = 49408
TOKEN_IDS_KEY = "lora_workbench.token_ids"
TOKEN_KEY = f"{CLIP_PREFIX}text_model.embeddings.token_embedding.weight"
UNUSED_ROW_SEED = 1234
UNUSED_ROW_SCALE = 0.3


def expand_token_embedding(rows: Tensor, token_ids: Tensor, vocab: int = FULL_VOCAB) -> Tensor:
    """The full token embedding of a checkpoint that stores only its trained rows.

    Rows that were never trained are drawn from a generator of fixed seed, so that an unknown word still gives a vector
    of its own, the same on every machine.

    Args:
        rows: trained rows ``[n, d]``.
        token_ids: their places in the table, integers ``[n]``.
        vocab: rows of the full table, 49408 for CLIP.

    Returns:
        float32 ``[vocab, d]``.
    """
    generator = torch.Generator().manual_seed(UNUSED_ROW_SEED)
    table = torch.randn(vocab, rows.shape[1], generator=generator) * UNUSED_ROW_SCALE
    table[token_ids.long()] = rows.float()
    return table
