"""The networks of a prompt's LoRA tag, with its weights: for whichever host attaches them."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from ..adapters.block_presets import OF_ITS_PLOT
from ..adapters.blocks import BlockWeights, load_presets
from ..adapters.file import LoraFile
from ..adapters.network import Network
from ..adapters.selection import part_of
from ..errors import UserError
from ..models.family import Family
from .prompt_loras import PromptLora

_GIVEN = re.compile(r"X(?:([+-]\d*\.?\d+))?", re.IGNORECASE)
_RANDOM = {"R": (0.0, 1.0), "U": (-0.5, 1.5)}
ELEMENTS = {  # Block Weight's own, which a preset of the same name replaces
    "ATTNDEEPON": "IN05-OUT05.attn=1", "ATTNDEEPOFF": "IN05-OUT05.attn=0", "PROJDEEPOFF": "IN05-OUT05.proj=0",
}  # fmt: skip


def networks_of(tag: PromptLora, file: LoraFile, presets: Path, seed: int) -> Iterator[tuple[str, Network]]:
    """The file's part ``"te"`` and its part ``"unet"``, each with its weight; a part that it lacks is left out.

    They are float32, as CPUs multiply half-precision matrices many times more slowly.

    Args:
        presets: file with the user's own block presets.
        seed: of the first image, for block weights that are drawn at random.

    Raises:
        UserError: the block weights do not fit the file.
    """
    weights = block_weights(tag, load_presets(presets), file.family, seed)
    for part in ("te", "unet"):
        modules = {key: tensors for key, tensors in file.modules.items() if part_of(key) == part}
        if not modules:
            continue
        network = Network.from_modules(modules, file.name, file.families)
        for adapter in network.adapters.values():
            adapter.float()
        network.set_block_weights(weights)
        network.multiplier = tag.te_weight() if part == "te" else tag.unet_weight(0, 1)
        yield part, network


def block_weights(tag: PromptLora, presets: Mapping[str, str], family: Family, seed: int) -> BlockWeights | None:
    """The block weights of a tag, None where it has none.

    In the numbers of the tag, or of the preset that it names, the Block Weight extension's letters stand for others:
    ``X`` for the tag's ``x=``, with ``X+0.2`` and ``X-0.2``; ``R`` for a random one from 0 to 1 and ``U`` for one from
    -0.5 to 1.5, the same for the same seed.

    Raises:
        UserError: they do not fit the family, or no elements are called so.
    """
    if tag.blocks is None and tag.elements is None:
        return None
    if tag.blocks in OF_ITS_PLOT and tag.blocks not in presets:
        raise UserError(
            f"{tag.blocks} stands for the weights of LoRA Block Weight's own plot",
            where=f"lora:{tag.name}",
            fix="In an X/Y/Z plot choose the axis Block weights; for one picture give a preset's name or numbers",
        )
    drawn = random.Random(f"{seed} {tag.name} {tag.blocks}")

    def filled(text: str) -> str:
        return re.sub(r"[^,|]+", lambda part: _number(part[0].strip(), tag.x, drawn), text)

    head, comma, rest = (tag.blocks or "").partition(",")
    name = head.strip()
    own = {name: filled(presets[name])} if name in presets else {}
    text = f"{name}{comma}{filled(rest)}" if own else filled(tag.blocks or "")
    if tag.elements is not None:
        text = ",".join(filter(None, (text, _elements(tag.elements, presets))))
    return BlockWeights.parse(text, {**presets, **own}, family)


def _elements(name: str, presets: Mapping[str, str]) -> str:
    known = {**ELEMENTS, **{preset: text for preset, text in presets.items() if "=" in text.partition(",")[0]}}
    if name not in known:
        fix = f"Import elempresets.txt under Blocks, or use one of {', '.join(known)}"
        raise UserError(f"No elements are called {name!r} here", where="lbwe", fix=fix)
    return known[name]


def random_weights(tag: PromptLora, presets: Path, family: Family, seed: int) -> str:
    """What :func:`block_weights` drew, to be shown; empty where nothing is left to chance."""
    known = load_presets(presets)
    found = [block_weights(tag, known, family, other) for other in (seed, seed + 1)]
    return "" if found[0] is None or found[0] == found[1] else f"{tag.name}: lbw={found[0].format()}"


def _number(part: str, given: float, drawn: random.Random) -> str:
    if part.upper() in _RANDOM:
        return f"{round(drawn.uniform(*_RANDOM[part.upper()]), 3):g}"
    match = _GIVEN.fullmatch(part)
    return f"{given + float(match[1] or 0):g}" if match else part
