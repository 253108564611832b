"""The weights people give to blocks, and to kinds of layers in them, and how they write them.

Two rules for what is not written:

- 17 or 12 weights on a file with layers in other blocks: such a block takes the weight of the listed block before it
  (one that has none before it, that of the first listed). The Block Weight extension gives it 0, which silently
  switches off a third of a LoCon; the block before it works on the same features, so its weight is the better guess.
- A kind's weight stands in the place of its block's, as in the extension's ``lbwe=``; it does not multiply it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache

from lib_lora.adapters.block_presets import BUILT_IN_PRESETS, LETTER, load_presets
from lib_lora.adapters.recognition import family_of
from lib_lora.errors import UserError
from lib_lora.models.families import families, family
from lib_lora.models.family import Family
from lib_lora.models.unet import BLOCKS_12, BLOCKS_17, BLOCKS_20, BLOCKS_26

__all__ = (
    "BLOCKS_12",
    "BLOCKS_17",
    "BLOCKS_20",
    "BLOCKS_26",
    "BUILT_IN_PRESETS",
    "BlockWeights",
    "block_of",
    "layout_for",
    "load_presets",
    "named_blocks",
)

Weights = Sequence[float] | Mapping[str, float]


class BlockWeights(Mapping[str, float]):
    """The weight of every block of a family, and of kinds of layers where they differ from their block.

    As a mapping it has the blocks in the family's order, then the kinds, ``IN04.attn1``. It never changes.

    Args:
        family: whose blocks they are.
        weights: of all its blocks, and of kinds by the names of the family's table.
    """

    def __init__(self, family: Family, weights: Mapping[str, float]):
        self.family = family
        self._weights = dict(weights)

    def __getitem__(self, name: str) -> float:
        return self._weights[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._weights)

    def __len__(self) -> int:
        return len(self._weights)

    def __repr__(self) -> str:
        return f"BlockWeights({self.family.name}: {self.format()})"

    @classmethod
    def read(cls, weights: Weights, family: Family | None = None) -> BlockWeights:
        """From numbers in one of the family's layouts, or from a mapping that names the blocks of one.

        Args:
            family: None finds one whose layout fits; of U-Nets, SD1, whose blocks are those of all.

        Raises:
            UserError: for a wrong number of weights, unknown or missing names, a weight that is not finite, or weights
                of another family that are not all equal.
        """
        if isinstance(weights, BlockWeights):
            return weights._for(family)
        family = family or _owner(weights)
        if not isinstance(weights, Mapping):
            weights = dict(zip(_layout(family, len(weights)), weights, strict=True))
        for name, value in weights.items():
            if not math.isfinite(value):
                raise UserError(
                    f"The weight of block {name} is not a finite number", fix="Use numbers such as 0.5 or 1."
                )
        whole = {name: value for name, value in weights.items() if "." not in name}
        layout = _layout(family, len(whole))
        if set(whole) != set(layout):
            wrong = sorted(set(whole) ^ set(layout))
            raise UserError(f"Unknown or missing blocks {', '.join(wrong)}", fix=f"Name exactly {', '.join(layout)}.")
        first, *others = family.blocks.names
        full, last = {first: whole[first]}, whole[layout[1]]
        for name in others:
            last = full[name] = whole.get(name, last)
        for name, value in weights.items():
            if "." in name:
                full |= dict.fromkeys(_kinds(family, name), value)
        return cls(family, full)

    @classmethod
    def parse(
        cls, text: str, presets: Mapping[str, str], family: Family | None = None, *, strict: bool = True
    ) -> BlockWeights:
        """From text.

        ``GP1``, a preset's name; or numbers with commas, as many as a layout of the family has; or
        ``te=0.3,unet=-1,IN04-OUT05=0.5,NOT M00=0``: each entry sets its blocks (one, several with blanks, a range, or
        with NOT all others; ``te`` is the text encoders, ``unet`` the rest), later ones over earlier ones; blocks that
        are not named keep 1. ``IN04-IN08.attn=0.5`` sets a kind of layer in its blocks, ``attn=0.5`` in all. Entries
        may follow a preset or numbers: ``GP1,OUT11=0.5``. A preset may have forms for several families, with ``|``
        between them.

        Args:
            family: of the file they are for; None takes the first that the text fits. As many numbers as it has blocks
                fit always, and equal ones.
            strict: numbers must be of one of the family's own layouts, not of a relative's.

        Raises:
            UserError: listing the presets or the layouts that would be valid.
        """
        if family is not None:
            return _parsed(text, presets, family, strict=strict)
        failures: list[UserError] = []
        for own in (True, False):
            for one in _tables():
                try:
                    return _parsed(text, presets, one, strict=own)
                except UserError as error:
                    failures.append(error)
        raise failures[len(failures) // 2]  # of the first family, with all layouts that it accepts

    def of(self, key: str) -> float:
        """The weight of a layer. One that lies in no block goes with the text encoders."""
        block = self.family.blocks.of(key) or self.family.blocks.names[0]
        return self._weights.get(f"{block}.{self.family.kinds.of(key)}", self._weights[block])

    def format(self, layout: Sequence[str] = ()) -> str:
        """The weights of ``layout`` (all blocks by default), and of all kinds, as text that is read back exactly."""
        kinds = {name: value for name, value in self.items() if "." in name}
        for block in self.family.blocks.names:
            self_attention, cross = f"{block}.attn1", f"{block}.attn2"
            if self_attention in kinds and kinds.get(cross) == kinds[self_attention]:
                kinds[f"{block}.attn"] = kinds.pop(self_attention)
                del kinds[cross]
        return ",".join(
            [_number(self[name]) for name in layout or self.family.blocks.names]
            + [f"{name}={_number(kinds[name])}" for name in sorted(kinds)]
        )

    def scaled(self, factor: float, first: str = "", last: str = "") -> BlockWeights:
        """With those of the blocks from ``first`` to ``last`` (all by default), and of their kinds, times ``factor``.

        Raises:
            UserError: the range runs backwards, or names no blocks of the family.
        """
        names = self.family.blocks.names
        try:
            begin, end = names.index(first or names[0]), names.index(last or names[-1])
        except ValueError:
            known = ", ".join(names)
            raise UserError(f"{self.label} has no such block", where=f"{first}, {last}", fix=f"Use {known}.") from None
        if begin > end:
            raise UserError(f"{first} comes after {last}", where="range of blocks", fix="Exchange the two.")
        inside = set(names[begin : end + 1])
        return self.changed({n: round(v * factor, 4) for n, v in self.items() if n.partition(".")[0] in inside})

    def changed(self, weights: Mapping[str, float]) -> BlockWeights:
        """With other weights of some of the names."""
        return BlockWeights(self.family, {**self._weights, **weights})

    @property
    def label(self) -> str:
        """Whose blocks they are, for the user."""
        return self.family.label

    def _for(self, other: Family | None) -> BlockWeights:
        if other is None or other.blocks.names == self.family.blocks.names:
            return self
        if len(set(self.values())) == 1:
            return BlockWeights(other, dict.fromkeys(other.blocks.names, next(iter(self.values()))))
        raise UserError(
            f"These block weights are for {self.label}, and the LoRA is for {other.label}",
            where="block weights",
            fix=f"Give weights of {', '.join(other.blocks.names)}.",
        )


def block_of(key: str) -> str:
    """The block of a layer whose family is not at hand; relatives call their blocks alike.

    Raises:
        UserError: no family has such a layer.
    """
    return _block_of(key)


@lru_cache(maxsize=8192)
def _block_of(key: str) -> str:
    return family_of([key]).block_of(key)


def layout_for(keys: Iterable[str]) -> tuple[str, ...]:
    """The shortest layout of the layers' family that names every block of theirs: for a LoRA, or for a LoCon."""
    keys = list(keys)
    return family_of(keys).blocks.layout_for(keys)


def named_blocks(text: str, of: Family | None = None) -> tuple[str, ...]:
    """The blocks that a text such as ``IN01-IN02 OUT09-OUT11``, ``NOT M00`` or ``te`` says.

    Args:
        of: the family; None takes the first that has blocks of these names.

    Raises:
        UserError: listing the names.
    """
    for one in [of] if of else _tables():
        try:
            return _selected(one, text.strip())
        except ValueError:
            continue
    fix = f"Write for example IN01-IN02 OUT09-OUT11; blocks are {', '.join((of or family('sd1')).blocks.names)}"
    raise UserError(f"{text!r} names no blocks", fix=fix)


def syntax(of: Family) -> str:
    """How weights of a family's blocks may be written."""
    names = of.blocks.names
    return (
        f"Write te=0.3, unet=-1, {names[2]}=0, {names[2]}-{names[-2]}=0.5, NOT {names[2]}=0, {names[2]}.attn=0.5 or "
        f"mlp=0; blocks are {', '.join(names)}; kinds of layers are {', '.join(of.kinds.choices)}."
    )


def _tables() -> list[Family]:
    """One family for every set of blocks."""
    return list({one.blocks.names: one for one in reversed(families().values())}.values())[::-1]


def _owner(weights: Weights) -> Family:
    """A family that has a layout of this length, or of these names."""
    names = {name for name in weights if "." not in name} if isinstance(weights, Mapping) else None
    for one in _tables():
        for layout in one.blocks.accepted:
            if names == set(layout) or (names is None and len(weights) == len(layout)):
                return one
    return family("sd1")


def _parsed(text: str, presets: Mapping[str, str], of: Family, *, strict: bool) -> BlockWeights:
    parts = [part.strip() for part in text.split(",")]
    forms = presets.get(parts[0], parts[0]).split("|")  # a preset may itself be of any form
    failure: UserError | None = None
    for form in forms:
        own = [part.strip() for part in form.split(",")] + parts[1:]
        plain = next((i for i, part in enumerate(own) if "=" in part), len(own))
        try:
            names = of.blocks.names
            weights = _listed(text.strip(), own[:plain], presets, of, strict) if plain else dict.fromkeys(names, 1.0)
            for entry in own[plain:]:
                weights |= _entry(of, entry, weights)
            return BlockWeights.read(weights, of)
        except UserError as error:
            failure = failure or error
    raise failure or UserError("There is nothing to read", where="block weights")


def _listed(text: str, parts: Sequence[str], presets: Mapping[str, str], of: Family, strict: bool) -> dict[str, float]:
    """Weights from numbers alone; ``text`` is what the user wrote."""
    try:
        numbers = [float(part) for part in parts]
    except ValueError:
        if any(LETTER.fullmatch(part) for part in parts):
            raise UserError(
                f"{text!r} has R, U or X, which only a prompt's tag draws or gives",
                where="block weights",
                fix="Write it in a tag, such as <lora:NAME:1:lbw=PRESET:x=0.5>, or give numbers here",
            ) from None
        counts = " or ".join(str(len(layout)) for layout in (of.blocks.layouts if strict else of.blocks.accepted))
        raise UserError(
            f"{text!r} is neither a block preset nor a list of numbers",
            where="block weights",
            fix=f"Known presets: {', '.join(presets)}. Or give {counts} numbers, or names such as te=0.5,"
            f"{of.blocks.names[2]}-{of.blocks.names[-2]}=0.",
        ) from None
    names = of.blocks.names
    if len(set(numbers)) == 1 and len(numbers) > 1 and len(numbers) in _counts():
        return dict.fromkeys(names, numbers[0])
    allowed = of.blocks.layouts if strict else of.blocks.accepted
    if len(numbers) not in {len(names), *map(len, allowed)}:
        valid = "; or ".join(f"{len(layout)} ({', '.join(layout)})" for layout in allowed)
        other = ", and this LoRA is of another family" if len(numbers) in _counts() else ""
        raise UserError(
            f"{text!r} has {len(numbers)} block weights{other}", where="block weights", fix=f"Give {valid}."
        )
    return dict(BlockWeights.read(numbers, of))


def presets_for(of: Family, presets: Mapping[str, str]) -> list[str]:
    """Names of the presets that a family's user can choose: all but those that are lists for other families alone.

    One that cannot be read at all is among them, so that its owner is told why.
    """
    return [name for name, text in presets.items() if not all(_of_another(form, of) for form in text.split("|"))]


def _of_another(form: str, of: Family) -> bool:
    try:
        numbers = [float(part) for part in form.split(",") if "=" not in part]
    except ValueError:
        return False
    own = {len(of.blocks.names), *map(len, of.blocks.accepted)}
    return len(set(numbers)) > 1 and len(numbers) in _counts() - own


def _counts() -> set[int]:
    return {len(layout) for one in _tables() for layout in one.blocks.accepted}


def _entry(of: Family, entry: str, weights: Mapping[str, float]) -> dict[str, float]:
    """What one ``names=value`` sets; a block that is set as a whole takes its kinds along."""
    names, _, value = entry.partition("=")
    blocks_part, dot, kind = names.strip().rpartition(".")
    if not dot and kind in of.kinds.choices:
        blocks_part, dot = "", "."
    try:
        chosen = _selected(of, (blocks_part if dot else kind).strip(), all_when_empty=bool(dot))
        number = float(value)
        if dot:
            return dict.fromkeys((name for block in chosen for name in _kinds(of, f"{block}.{kind}")), number)
    except (ValueError, KeyError):
        raise UserError(f"{entry!r} is not a block weight", where="block weights", fix=syntax(of)) from None
    return dict.fromkeys((name for name in weights if name.partition(".")[0] in chosen), number)


def _selected(of: Family, names: str, *, all_when_empty: bool = False) -> tuple[str, ...]:
    """The blocks that ``names`` says; ValueError where one is unknown or a range runs backwards."""
    every = of.blocks.names
    if not names and all_when_empty:
        return every
    if names.startswith("NOT "):
        excluded = _selected(of, names.removeprefix("NOT ").strip())
        return tuple(name for name in every if name not in excluded)
    if " " in names and not re.search(r"\s-|-\s", names):
        return tuple(block for name in names.split() for block in _selected(of, name))
    if names in ("te", "unet"):
        return every[: of.blocks.text] if names == "te" else every[of.blocks.text :]
    first, _, last = names.partition("-")
    begin = every.index(first.strip())
    return every[begin : every.index(last.strip() or first.strip(), begin) + 1]


def _kinds(of: Family, name: str) -> list[str]:
    """``IN04.attn`` as the table has it: ``IN04.attn1``, ``IN04.attn2``."""
    block, _, kind = name.partition(".")
    if block not in of.blocks.names or kind not in of.kinds.choices:
        raise UserError(f"There is no {name!r}", where="block weights", fix=syntax(of))
    return [f"{block}.{part}" for part in of.kinds.choices[kind]]


def _number(value: float) -> str:
    return repr(float(value)).removesuffix(".0")


def _layout(of: Family, count: int) -> tuple[str, ...]:
    fitting = [layout for layout in of.blocks.accepted if len(layout) == count]
    if not fitting:
        valid = "; or ".join(f"{len(layout)} ({', '.join(layout)})" for layout in of.blocks.accepted)
        raise UserError(f"{count} block weights were given", where="block weights", fix=f"Give {valid}.")
    return fitting[0]
