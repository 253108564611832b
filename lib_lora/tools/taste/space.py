"""What is tuned: a few numbers with limits, and what they make of the block weights of a LoRA.

Dozens of clicks cannot tell 17 or 26 blocks apart, so neighbouring blocks move together: those of the text encoders,
outer and inner blocks of the way in, and of the way out. A group's number multiplies the weights that one starts from,
so that a preset keeps its shape, and what it leaves out stays out.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import groupby

from ...adapters.blocks import BlockWeights
from ...adapters.formula import Term
from .proposals import Point

SPLIT = 4  # blocks of one kind from which they are two groups
CENTER = 0.5
DIGITS = 3  # of weights
WHOLE, SUBTRACTED = "weight of the LoRA", "base style subtracted"


@dataclass(frozen=True)
class Dimension:
    """A number that is tuned: 0, 0.5 and 1 in the unit cube are ``low``, ``start`` and ``high``, straight in between.

    Args:
        choices: the values that it can have, such as epochs; empty: all from ``low`` to ``high``.
    """

    name: str
    low: float
    start: float
    high: float
    choices: tuple[float, ...] = ()

    def value(self, place: float) -> float:
        """What a place from 0 to 1 stands for."""
        if place < CENTER:
            value = self.low + (self.start - self.low) * place / CENTER
        else:
            value = self.start + (self.high - self.start) * (place - CENTER) / (1 - CENTER)
        return min(self.choices, key=lambda choice: abs(choice - value)) if self.choices else value


@dataclass(frozen=True)
class Tuned:
    """A LoRA whose weight and block weights are tuned, perhaps with another one that is subtracted from it.

    Args:
        name, weight, blocks: of the LoRA, where tuning starts.
        layout: the blocks that the file has; the others are not tuned.
        locked: blocks that stay as they are.
        whole: whether the weight of the LoRA is tuned.
        base, base_blocks: the LoRA that is subtracted, and its block weights; none where the name is empty.
    """

    name: str
    weight: float
    blocks: BlockWeights
    layout: tuple[str, ...]
    locked: frozenset[str] = frozenset()
    whole: bool = True
    base: str = ""
    base_blocks: BlockWeights | None = None

    @property
    def groups(self) -> list[tuple[str, ...]]:
        """Blocks that move together."""
        open_blocks = [name for name in self.layout if name not in self.locked and self.blocks[name]]
        return block_groups(open_blocks, self.blocks.family.blocks.text, self.blocks.family.blocks.names)

    def dimensions(self) -> list[Dimension]:
        """What is tuned, in the order of a point's numbers."""
        found = [Dimension(_title(group), 0.0, 1.0, 2.0) for group in self.groups]
        if self.whole:
            found.append(Dimension(WHOLE, 0.4 * self.weight, self.weight, 1.6 * self.weight))
        if self.base:
            found.append(Dimension(SUBTRACTED, 0.0, 1.0, 4.0))
        return found

    def terms(self, point: Point) -> list[tuple[str, float, BlockWeights]]:
        """Name, weight and block weights of each LoRA that draws the pictures of ``point``."""
        values = {d.name: d.value(place) for d, place in zip(self.dimensions(), point, strict=True)}
        changed: dict[str, float] = {}
        for group in self.groups:
            for name, weight in self.blocks.items():
                if _slider(name, self.layout, self.blocks.family.blocks.names) in group:
                    changed[name] = round(weight * values[_title(group)], DIGITS)
        weight = round(values.get(WHOLE, self.weight), DIGITS)
        found = [(self.name, weight, self.blocks.changed(changed))]
        if self.base and self.base_blocks is not None:
            found.append((self.base, -round(values[SUBTRACTED], DIGITS), self.base_blocks))
        return found

    def formula(self, point: Point) -> list[Term]:
        """The same as terms of a merge."""
        return [Term(name, weight, blocks.format(self.layout)) for name, weight, blocks in self.terms(point)]


def block_groups(names: Sequence[str], text: int, order: Sequence[str]) -> list[tuple[str, ...]]:
    """Neighbours that move together: all text encoders, then blocks whose names begin alike, in two halves from
    :data:`SPLIT` on. A block alone goes with those before it, where these are no text encoders."""
    encoders = tuple(name for name in names if order.index(name) < text)
    rest = [name for name in names if name not in encoders]
    groups: list[tuple[str, ...]] = []
    for _, alike in groupby(rest, key=lambda name: name.rstrip("0123456789")):
        blocks = tuple(alike)
        if len(blocks) == 1 and groups:
            groups[-1] += blocks
        elif len(blocks) >= SPLIT:
            half = -(-len(blocks) // 2)
            groups += [blocks[:half], blocks[half:]]
        else:
            groups.append(blocks)
    return ([encoders] if encoders else []) + groups


def _slider(name: str, layout: Collection[str], order: Sequence[str]) -> str:
    """The block of the layout that a block, or a kind of layers in it, goes with: the last one before it."""
    at = order.index(name.partition(".")[0])
    return next((order[i] for i in range(at, -1, -1) if order[i] in layout), order[0])


def _title(group: Sequence[str]) -> str:
    return group[0] if len(group) == 1 else f"{group[0]}–{group[-1]}"
