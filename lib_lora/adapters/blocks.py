"""The one block table, and the weights people give to its blocks.

SD1 and SD2 have 26 blocks, SDXL has 20 of them. The names are those of the LoRA Block Weight extension: 17 (SD) and 12
(SDXL) for LoRAs, which are the blocks with attention; 26 and 20 for LoCons, which are all. Rules for what the tables
leave open:

- The text encoders and the embeddings of time and size belong to BASE: they condition every block and lie in none.
- conv_in opens IN00, conv_out closes the last OUT.
- 17 or 12 weights on a file with layers in other blocks: such a block takes the weight of the listed block before it
  (one that has none before it, that of the first listed). The extension gives it 0, which silently switches off a third
  of a LoCon; the block before it works on the same features, so its weight is the better guess.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from lib_lora.adapters.spelling import family_of
from lib_lora.errors import UserError

BLOCKS_26 = ("BASE", *(f"IN{i:02}" for i in range(12)), "M00", *(f"OUT{i:02}" for i in range(12)))
BLOCKS_20 = ("BASE", *(f"IN{i:02}" for i in range(9)), "M00", *(f"OUT{i:02}" for i in range(9)))
BLOCKS_17 = (
    *("BASE", "IN01", "IN02", "IN04", "IN05", "IN07", "IN08", "M00"),
    *(f"OUT{i:02}" for i in range(3, 12)),
)
BLOCKS_12 = ("BASE", "IN04", "IN05", "IN07", "IN08", "M00", *(f"OUT{i:02}" for i in range(6)))
LAYOUTS = {12: BLOCKS_12, 17: BLOCKS_17, 20: BLOCKS_20, 26: BLOCKS_26}
FAMILY_LAYOUTS = {"sd": (BLOCKS_17, BLOCKS_26), "sdxl": (BLOCKS_12, BLOCKS_20)}
BUILT_IN_PRESETS = Path(__file__).with_name("block_presets.txt")

_UNET = re.compile(
    r"lora_unet_(?:"
    r"(?P<side>down|up)_blocks_(?P<level>\d)_(?P<kind>attentions|resnets|downsamplers|upsamplers)_(?P<index>\d)_"
    r"|(?P<sgm>in|out)put_blocks_(?P<number>\d+)_"
    r"|(?P<other>mid_block|middle_block|conv_in|conv_norm_out|conv_out|time_embedding|time_embed|label_emb|out_\d))"
)
_OTHER = {
    **dict.fromkeys(("mid_block", "middle_block"), "M00"),
    **dict.fromkeys(("time_embedding", "time_embed", "label_emb"), "BASE"),
    "conv_in": "IN00",
    **dict.fromkeys(("conv_norm_out", "conv_out"), "OUT11"),
    **dict.fromkeys(("out_0", "out_2"), "OUT08"),
}


def block_of(key: str) -> str:
    """The block, one of 26, that the layer called ``key`` lies in; names as in :mod:`spelling`.

    Raises:
        UserError: for a layer that neither SD nor SDXL has.
    """
    if re.match(r"lora_te[12]?_", key):
        return "BASE"
    match = _UNET.match(key)
    block = match and _unet_block(match)
    if block not in BLOCKS_26:
        raise UserError(
            "Block weights are known for Stable Diffusion 1, 2 and XL, and this layer is part of none",
            where=key,
            fix="Use the LoRA without block weights.",
        )
    return block


def _unet_block(match: re.Match[str]) -> str:
    if match["other"]:
        return _OTHER.get(match["other"], "")
    if match["sgm"]:
        return f"{match['sgm'].upper()}{int(match['number']):02}"
    level, index = int(match["level"]), int(match["index"])
    if match["side"] == "down":
        return f"IN{3 * level + (3 if match['kind'] == 'downsamplers' else 1 + index):02}"
    return f"OUT{3 * level + (2 if match['kind'] == 'upsamplers' else index):02}"


def layout_for(keys: Iterable[str]) -> tuple[str, ...]:
    """The shortest layout of the layers' family that names every block of theirs: for a LoRA, or for a LoCon."""
    keys = list(keys)
    used = {block_of(key) for key in keys}
    short, full = FAMILY_LAYOUTS[family_of(keys)]
    return short if used <= set(short) else full


def expand(weights: Sequence[float] | Mapping[str, float]) -> dict[str, float]:
    """Weights of all 26 blocks from a vector or dict in one of the layouts, by the rules above.

    Raises:
        UserError: for a wrong number of weights, unknown or missing block names, or a weight that is not finite.
    """
    if not isinstance(weights, Mapping):
        weights = dict(zip(_layout(len(weights)), weights, strict=True))
    layout = _layout(len(weights))
    if set(weights) != set(layout):
        wrong = sorted(set(weights) ^ set(layout))
        raise UserError(f"Unknown or missing blocks {', '.join(wrong)}", fix=f"Name exactly {', '.join(layout)}.")
    for name, value in weights.items():
        if not math.isfinite(value):
            raise UserError(f"The weight of block {name} is not a finite number", fix="Use numbers such as 0.5 or 1.")
    full, last = {"BASE": weights["BASE"]}, weights[layout[1]]
    for name in BLOCKS_26[1:]:
        last = full[name] = weights.get(name, last)
    return full


def weight_of(key: str, by_block: Mapping[str, float] | None) -> float:
    """The weight of layer ``key`` under the 26 weights of :func:`expand`; 1 when there are none."""
    return 1.0 if by_block is None else by_block[block_of(key)]


def parse_weights(text: str, presets: Mapping[str, str], family: str | None = None) -> dict[str, float]:
    """26 weights from a preset's name, from 12, 17, 20 or 26 numbers separated by commas, or from names and values.

    ``te=0.3,unet=-1,IN04-OUT05=0.5,NOT M00=0``: each entry sets its blocks (one, a range, or with NOT all others;
    ``te`` is BASE, ``unet`` the rest), later ones over earlier ones; blocks that are not named keep 1.

    Args:
        family: ``"sd"`` or ``"sdxl"`` of the file they are for; None allows all. 26 numbers, and equal ones, fit both.

    Raises:
        UserError: listing the presets or the layouts that would be valid.
    """
    text = text.strip()
    source = presets.get(text, text)
    if "=" in source:
        return _named_weights(source)
    try:
        numbers = [float(part) for part in source.split(",")]
    except ValueError:
        raise UserError(
            f"{text!r} is neither a block preset nor a list of numbers",
            where="block weights",
            fix=f"Known presets: {', '.join(presets)}. Or give 12 or 20 (SDXL), 17 or 26 (SD1, SD2) numbers, "
            "or names such as te=0.5,IN04-OUT05=0.",
        ) from None
    weights = expand(numbers)
    if family is not None and len(numbers) != len(BLOCKS_26) and len(set(numbers)) > 1:
        allowed = [layout for layout in FAMILY_LAYOUTS[family] if len(layout) == len(numbers)]
        if not allowed:
            valid = "; or ".join(f"{len(names)} ({', '.join(names)})" for names in FAMILY_LAYOUTS[family])
            raise UserError(
                f"{text!r} has {len(numbers)} block weights, and this LoRA is of another family",
                where="block weights",
                fix=f"Give {valid}.",
            )
    return weights


def _named_weights(text: str) -> dict[str, float]:
    weights = dict.fromkeys(BLOCKS_26, 1.0)
    for entry in text.split(","):
        names, _, value = entry.partition("=")
        try:
            weights |= dict.fromkeys(_selected(names.strip()), float(value))
        except ValueError:
            raise UserError(
                f"{entry.strip()!r} is not a block weight",
                where="block weights",
                fix=f"Write te=0.3, unet=-1, M00=0, IN04-OUT05=0.5 or NOT M00=0; blocks are {', '.join(BLOCKS_26)}.",
            ) from None
    return expand(weights)


def _selected(names: str) -> tuple[str, ...]:
    """The blocks of one entry; ValueError where a name is unknown or a range runs backwards."""
    if names.startswith("NOT "):
        excluded = _selected(names.removeprefix("NOT ").strip())
        return tuple(name for name in BLOCKS_26 if name not in excluded)
    if names in ("te", "unet"):
        return BLOCKS_26[:1] if names == "te" else BLOCKS_26[1:]
    first, _, last = names.partition("-")
    begin = BLOCKS_26.index(first.strip())
    return BLOCKS_26[begin : BLOCKS_26.index(last.strip() or first.strip(), begin) + 1]


def format_weights(weights: Mapping[str, float], layout: Sequence[str] = BLOCKS_26) -> str:
    """The weights of ``layout`` as text that :func:`parse_weights` reads back exactly."""
    return ",".join(repr(float(weights[name])).removesuffix(".0") for name in layout)


def load_presets(path: str | Path | None = None) -> dict[str, str]:
    """Preset names and their weights as text: the built-in ones, and over them those of the user's file ``path``.

    A file that does not exist is an empty one. Lines are ``NAME:w1,w2,…``; ``#`` starts a comment line.
    """
    presets = _read_presets(BUILT_IN_PRESETS)
    if path is not None and Path(path).exists():
        presets.update(_read_presets(Path(path)))
    return presets


def _read_presets(path: Path) -> dict[str, str]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError("The presets are not UTF-8 text", where=path, fix="Save the file as UTF-8.") from error
    presets = {}
    for number, line in enumerate(text.splitlines(), start=1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        name, colon, weights = (part.strip() for part in line.partition(":"))
        if not name or not colon or "," in name:
            raise UserError(f"Line {number} is not a block preset", where=path, fix="Write NAME:w1,w2,… on each line.")
        presets[name] = weights
    return presets


def _layout(count: int) -> tuple[str, ...]:
    if count not in LAYOUTS:
        valid = "; or ".join(f"{n} ({', '.join(names)})" for n, names in LAYOUTS.items())
        raise UserError(f"{count} block weights were given", where="block weights", fix=f"Give {valid}.")
    return LAYOUTS[count]
