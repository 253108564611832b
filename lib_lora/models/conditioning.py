"""What a transformer is told of a caption, in one tensor that may be kept, joined and passed on like any other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Conditioning:
    """Captions as a text encoder has them.

    Attributes:
        states: [B, L, D].
        mask: [B, L], True where a row counts; the others are there because captions differ in length.
        vector: [B, V], a summary of the whole caption; None where the family has none.
    """

    states: Tensor
    mask: Tensor
    vector: Tensor | None = None

    @classmethod
    def whole(cls, states: Tensor, vector: Tensor | None = None) -> Conditioning:
        """States of which all rows count."""
        return cls(states, torch.ones(states.shape[:2], dtype=torch.bool, device=states.device), vector)

    def packed(self) -> Tensor:
        """[B, L, D + V + 1]: behind each row of states the vector, then 1 where the row counts."""
        parts = [self.states]
        if self.vector is not None:
            parts.append(self.vector[:, None].expand(-1, self.states.shape[1], -1))
        return torch.cat([*(part.to(self.states) for part in parts), self.mask[..., None].to(self.states)], dim=-1)

    @classmethod
    def unpacked(cls, packed: Tensor, vector: int = 0) -> Conditioning:
        """What :meth:`packed` made of a conditioning whose vector has so many numbers."""
        end = packed.shape[-1] - 1
        summary = packed[:, 0, end - vector : end] if vector else None
        return cls(packed[..., : end - vector], packed[..., end] > 0.5, summary)


def joined(packed: Sequence[Tensor], rows: int = 0) -> Tensor:
    """One batch of packed conditionings [1, L, …], with rows that do not count up to the longest, or to ``rows``."""
    length = max(rows, *(one.shape[1] for one in packed))
    return torch.cat([F.pad(one, (0, 0, 0, length - one.shape[1])) for one in packed])
