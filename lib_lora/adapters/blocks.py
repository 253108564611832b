"""The weights people give to blocks, and to kinds of layers in them, and how they write them.

Weights are a mapping from block names to numbers, with ``IN04.attn1``, a kind of layer in a block, beside them where it
differs from its block. Two rules for what is not written:

- 17 or 12 weights on a file with layers in other blocks: such a block takes the weight of the listed block before it
  (one that has none before it, that of the first listed). The Block Weight extension gives it 0, which silently
  switches off a third of a LoCon; the block before it works on the same features, so its weight is the better guess.
- A kind's weight stands in the place of its block's, as in the extension's ``lbwe=``; it does not multiply it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

from lib_lora.adapters.block_presets import BUILT_IN_PRESETS, load_presets
from lib_lora.adapters.block_table import (
    BLOCKS_12,
    BLOCKS_17,
    BLOCKS_20,
    BLOCKS_26,
    ELEMENTS,
    FAMILY_LAYOUTS,
    LAYOUTS,
    block_of,
    element_of,
    layout_for,
)
from lib_lora.errors import UserError

__all__ = (
    "BLOCKS_12",
    "BLOCKS_17",
    "BLOCKS_20",
    "BLOCKS_26",
    "BUILT_IN_PRESETS",
    "ELEMENTS",
    "FAMILY_LAYOUTS",
    "LAYOUTS",
    "block_of",
    "element_of",
    "expand",
    "format_weights",
    "layout_for",
    "load_presets",
    "named_blocks",
    "parse_weights",
    "weight_of",
)

SYNTAX = f"Write te=0.3, unet=-1, M00=0, IN04-OUT05=0.5, NOT M00=0, IN04.attn=0.5 or conv=0; blocks are \
{', '.join(BLOCKS_26)}; kinds of layers are {', '.join(ELEMENTS)}."


def expand(weights: Sequence[float] | Mapping[str, float]) -> dict[str, float]:
    """Weights of all 26 blocks from a vector or mapping in one of the layouts, by the rules above.

    Weights of kinds (``IN04.attn``) are kept beside them, each under the names of the table (``IN04.attn1``, …).

    Raises:
        UserError: for a wrong number of weights, unknown or missing names, or a weight that is not finite.
    """
    if not isinstance(weights, Mapping):
        weights = dict(zip(_layout(len(weights)), weights, strict=True))
    for name, value in weights.items():
        if not math.isfinite(value):
            raise UserError(f"The weight of block {name} is not a finite number", fix="Use numbers such as 0.5 or 1.")
    whole = {name: value for name, value in weights.items() if "." not in name}
    layout = _layout(len(whole))
    if set(whole) != set(layout):
        wrong = sorted(set(whole) ^ set(layout))
        raise UserError(f"Unknown or missing blocks {', '.join(wrong)}", fix=f"Name exactly {', '.join(layout)}.")
    full, last = {"BASE": whole["BASE"]}, whole[layout[1]]
    for name in BLOCKS_26[1:]:
        last = full[name] = whole.get(name, last)
    for name, value in weights.items():
        if "." in name:
            full |= dict.fromkeys(_kinds(name), value)
    return full


def weight_of(key: str, by_block: Mapping[str, float] | None) -> float:
    """The weight of layer ``key`` under the weights of :func:`expand`; 1 when there are none."""
    if by_block is None:
        return 1.0
    block = block_of(key)
    return by_block.get(f"{block}.{element_of(key)}", by_block[block])


def parse_weights(text: str, presets: Mapping[str, str], family: str | None = None) -> dict[str, float]:
    """The weights of all 26 blocks, as :func:`expand` gives them, from text.

    ``GP1``, a preset's name; or 12, 17, 20 or 26 numbers with commas; or ``te=0.3,unet=-1,IN04-OUT05=0.5,NOT M00=0``:
    each entry sets its blocks (one, several with blanks, a range, or with NOT all others; ``te`` is BASE, ``unet`` the
    rest), later ones over earlier ones; blocks that are not named keep 1. ``IN04-IN08.attn=0.5`` sets a kind of layer
    in its blocks, ``attn=0.5`` in all. Entries may follow a preset or numbers: ``GP1,OUT11=0.5``.

    Args:
        family: ``"sd"`` or ``"sdxl"`` of the file they are for; None allows all. 26 numbers, and equal ones, fit both.

    Raises:
        UserError: listing the presets or the layouts that would be valid.
    """
    parts = [part.strip() for part in text.split(",")]
    first = presets.get(parts[0], parts[0])  # a preset may itself be of any form
    parts = [part.strip() for part in first.split(",")] + parts[1:]
    plain = next((i for i, part in enumerate(parts) if "=" in part), len(parts))
    weights = _listed(text.strip(), parts[:plain], presets, family) if plain else dict.fromkeys(BLOCKS_26, 1.0)
    for entry in parts[plain:]:
        weights |= _entry(entry, weights)
    return expand(weights)


def named_blocks(text: str) -> tuple[str, ...]:
    """The blocks that a text such as ``IN01-IN02 OUT09-OUT11``, ``NOT M00`` or ``te`` says.

    Raises:
        UserError: listing the names.
    """
    try:
        return _selected(text.strip())
    except ValueError:
        fix = f"Write for example IN01-IN02 OUT09-OUT11; blocks are {', '.join(BLOCKS_26)}"
        raise UserError(f"{text!r} names no blocks", fix=fix) from None


def format_weights(weights: Mapping[str, float], layout: Sequence[str] = BLOCKS_26) -> str:
    """The weights of ``layout``, and of all kinds, as text that :func:`parse_weights` reads back exactly."""
    kinds = {name: value for name, value in weights.items() if "." in name}
    for block in BLOCKS_26:
        self_attention, cross = f"{block}.attn1", f"{block}.attn2"
        if self_attention in kinds and kinds.get(cross) == kinds[self_attention]:
            kinds[f"{block}.attn"] = kinds.pop(self_attention)
            del kinds[cross]
    return ",".join(
        [_number(weights[name]) for name in layout] + [f"{name}={_number(kinds[name])}" for name in sorted(kinds)]
    )


def _listed(text: str, parts: Sequence[str], presets: Mapping[str, str], family: str | None) -> dict[str, float]:
    """Weights from numbers alone; ``text`` is what the user wrote."""
    try:
        numbers = [float(part) for part in parts]
    except ValueError:
        raise UserError(
            f"{text!r} is neither a block preset nor a list of numbers",
            where="block weights",
            fix=f"Known presets: {', '.join(presets)}. Or give 12 or 20 (SDXL), 17 or 26 (SD1, SD2) numbers, "
            "or names such as te=0.5,IN04-OUT05=0.",
        ) from None
    weights = expand(numbers)
    allowed = FAMILY_LAYOUTS.get(family or "", LAYOUTS.values())
    fits = len(numbers) == len(BLOCKS_26) or len(set(numbers)) == 1 or len(numbers) in map(len, allowed)
    if not fits:
        valid = "; or ".join(f"{len(names)} ({', '.join(names)})" for names in allowed)
        raise UserError(
            f"{text!r} has {len(numbers)} block weights, and this LoRA is of another family",
            where="block weights",
            fix=f"Give {valid}.",
        )
    return weights


def _entry(entry: str, weights: Mapping[str, float]) -> dict[str, float]:
    """What one ``names=value`` sets; a block that is set as a whole takes its kinds along."""
    names, _, value = entry.partition("=")
    blocks_part, dot, kind = names.strip().rpartition(".")
    if not dot and kind in ELEMENTS:
        blocks_part, dot = "", "."
    try:
        chosen = _selected((blocks_part if dot else kind).strip(), all_when_empty=bool(dot))
        number = float(value)
        if dot:
            return dict.fromkeys((name for block in chosen for name in _kinds(f"{block}.{kind}")), number)
    except (ValueError, KeyError):
        raise UserError(f"{entry!r} is not a block weight", where="block weights", fix=SYNTAX) from None
    return dict.fromkeys((name for name in weights if name.partition(".")[0] in chosen), number)


def _selected(names: str, *, all_when_empty: bool = False) -> tuple[str, ...]:
    """The blocks that ``names`` says; ValueError where one is unknown or a range runs backwards."""
    if not names and all_when_empty:
        return BLOCKS_26
    if names.startswith("NOT "):
        excluded = _selected(names.removeprefix("NOT ").strip())
        return tuple(name for name in BLOCKS_26 if name not in excluded)
    if " " in names and not re.search(r"\s-|-\s", names):
        return tuple(block for name in names.split() for block in _selected(name))
    if names in ("te", "unet"):
        return BLOCKS_26[:1] if names == "te" else BLOCKS_26[1:]
    first, _, last = names.partition("-")
    begin = BLOCKS_26.index(first.strip())
    return BLOCKS_26[begin : BLOCKS_26.index(last.strip() or first.strip(), begin) + 1]


def _kinds(name: str) -> list[str]:
    """``IN04.attn`` as the table has it: ``IN04.attn1``, ``IN04.attn2``."""
    block, _, kind = name.partition(".")
    if block not in BLOCKS_26 or kind not in ELEMENTS:
        raise UserError(f"There is no {name!r}", where="block weights", fix=SYNTAX)
    return [f"{block}.{part}" for part in ELEMENTS[kind]]


def _number(value: float) -> str:
    return repr(float(value)).removesuffix(".0")


def _layout(count: int) -> tuple[str, ...]:
    if count not in LAYOUTS:
        valid = "; or ".join(f"{n} ({', '.join(names)})" for n, names in LAYOUTS.items())
        raise UserError(f"{count} block weights were given", where="block weights", fix=f"Give {valid}.")
    return LAYOUTS[count]
