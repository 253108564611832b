"""Ranks of single blocks as text: ``IN01-IN02=4, M00=8/2``, where a number after the slash is the alpha."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import groupby

from lib_lora.adapters.blocks import BLOCKS_26, named_blocks
from lib_lora.errors import UserError

FIX = "Write for example IN01-IN02=4, M00=8/2: blocks, their rank (0 leaves them out), and after a slash their alpha"
HIGHEST = 512


@dataclass(frozen=True)
class BlockRanks:
    """The rank of each block that is named, and the alpha of those that have one; the others keep alpha / rank."""

    ranks: Mapping[str, int] = field(default_factory=dict)
    alphas: Mapping[str, float] = field(default_factory=dict)


def parse_block_ranks(text: str, where: str) -> BlockRanks:
    """Read what the setting ``where`` says; later entries count before earlier ones.

    Raises:
        UserError: an entry that names no blocks, or no rank from 0 to 512.
    """
    ranks: dict[str, int] = {}
    alphas: dict[str, float] = {}
    for entry in filter(None, (part.strip() for part in text.replace(";", ",").split(","))):
        names, equals, value = entry.partition("=")
        rank, slash, alpha = value.partition("/")
        try:
            if not equals or not 0 <= int(rank) <= HIGHEST or (slash and not 0 < float(alpha) < math.inf):
                raise ValueError(entry)
            chosen = named_blocks(names)
        except (ValueError, UserError):
            raise UserError(f"{entry!r} says no rank of blocks", where=where, fix=FIX) from None
        for block in chosen:
            ranks[block] = int(rank)
            alphas.pop(block, None)
            if slash:
                alphas[block] = float(alpha)
    return BlockRanks(ranks, alphas)


def format_block_ranks(given: BlockRanks) -> str:
    """The text that :func:`parse_block_ranks` reads so, equal neighbours as a range; of a U-Net's blocks."""

    def value(block: str) -> str:
        alpha = f"/{given.alphas[block]:g}" if block in given.alphas else ""
        return f"{given.ranks[block]}{alpha}" if block in given.ranks else ""

    runs = [(value, [*run]) for value, run in groupby(BLOCKS_26, key=value) if value]
    return ", ".join(f"{run[0]}{'-' + run[-1] if len(run) > 1 else ''}={value}" for value, run in runs)
