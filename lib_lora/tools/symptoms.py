"""What to change when pictures look wrong: the rules of the style guide, by symptom.

The guide counts positions 1 to 17 of two vectors: the one of the style LoRA itself, and the one of the LoRA of the base
style that is subtracted from it. It says which way to move them, not how far; a tenth is what its vectors differ by.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..adapters.blocks import BLOCKS_17, BlockWeights
from ..errors import UserError

STYLE, BASE_STYLE = "style", "base style"
STEP = 0.1


@dataclass(frozen=True)
class Move:
    """Raise or lower positions ``first`` to ``last``, counted from 1, of one of the two vectors."""

    vector: str
    first: int
    last: int
    up: bool

    def __str__(self) -> str:
        blocks = BLOCKS_17[self.first - 1 : self.last]
        names = blocks[0] if len(blocks) == 1 else f"{blocks[0]} to {blocks[-1]}"
        return f"{'raise' if self.up else 'lower'} {names}"


@dataclass(frozen=True)
class Measure:
    """One thing to try: moves, and by how much the weight of the whole LoRA changes."""

    moves: tuple[Move, ...] = ()
    weight: float = 0.0


@dataclass(frozen=True)
class Symptom:
    """``measures`` in the order to try them."""

    key: str
    label: str
    measures: tuple[Measure, ...]


def _move(vector: str, first: int, last: int, up: bool) -> Measure:
    return Measure((Move(vector, first, last, up),))


SYMPTOMS = (
    Symptom(
        "style",
        "Style too weak",
        (
            _move(BASE_STYLE, 1, 1, True),
            Measure((Move(STYLE, 13, 17, True), Move(BASE_STYLE, 13, 17, True))),
        ),
    ),
    Symptom("limbs", "Limbs deformed", (_move(STYLE, 1, 1, False), _move(STYLE, 6, 11, False))),
    Symptom("hands", "Hands deformed", (Measure((Move(STYLE, 4, 7, False), Move(BASE_STYLE, 4, 7, False))),)),
    Symptom("face", "Face not learnt", (_move(STYLE, 6, 11, True),)),
    Symptom("clothing", "Clothing torn", (_move(STYLE, 3, 5, False),)),
    Symptom("chaotic", "Chaotic", (_move(STYLE, 3, 5, False), Measure(weight=-0.2))),
)


@dataclass(frozen=True)
class Proposal:
    """What a measure would do to one LoRA; nothing is changed yet.

    Attributes:
        weights: the new weights.
        changes: block -> (old, new), only those that differ.
        weight: (old, new) of the LoRA as a whole.
        other: what the measure asks of the other of the two LoRAs, in words; empty for nothing.
        last: there is no further measure after this one.
    """

    weights: BlockWeights
    changes: dict[str, tuple[float, float]]
    weight: tuple[float, float]
    other: str
    last: bool

    @property
    def empty(self) -> bool:
        """Whether it changes nothing."""
        return not self.changes and self.weight[0] == self.weight[1]


def propose(key: str, number: int, weights: BlockWeights, weight: float, role: str = STYLE) -> Proposal:
    """Measure ``number``, from 0, against a symptom.

    Args:
        weights: the block weights now.
        weight: of the LoRA as a whole.
        role: which of the two LoRAs is being tuned.

    Raises:
        UserError: the LoRA is of a family whose blocks the guide says nothing about.
    """
    if not weights.family.guide:
        raise UserError("These rules were found on SD1, whose blocks are others", fix="Scan the blocks to see theirs.")
    symptom = next(s for s in SYMPTOMS if s.key == key)
    measure = symptom.measures[number]
    old = new = weights
    for move in measure.moves:
        if move.vector == role:
            new = new.changed(_moved(new, move))
    others = [str(move) for move in measure.moves if move.vector != role]
    changed_weight = round(max(0.0, weight + measure.weight), 3) if role == STYLE else weight
    return Proposal(
        new,
        {name: (old[name], value) for name, value in new.items() if value != old[name]},
        (weight, changed_weight),
        " and ".join(others),
        number == len(symptom.measures) - 1,
    )


def _moved(weights: BlockWeights, move: Move) -> dict[str, float]:
    """The weights that ``move`` changes, none below 0; blocks outside the 17 go with the listed one before them."""
    inside = BlockWeights.read(
        [float(move.first <= position <= move.last) for position in range(1, len(BLOCKS_17) + 1)], weights.family
    )
    step = STEP if move.up else -STEP
    return {name: max(0.0, round(value + step, 4)) for name, value in weights.items() if inside[name.partition(".")[0]]}
