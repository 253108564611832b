"""A LoRA under its final name: with its weight, its picture, and the card that web UIs show."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from PIL import Image

from ..adapters import metadata as about
from ..adapters.file import LoraFile, open_lora, write_lora
from ..adapters.merge import combine
from ..file_sets import file_set, finish_sets, refuse_existing
from ..files import write_text
from .card_files import Card, card_file, data_url
from .merge import LoadBase, needs_base
from .pictures import PARAMETERS, save_png

CARD_SIDE, THUMBNAIL_SIDE = 1024, 256  # pixels


def export_lora(
    source: Path,
    target: Path,
    card: Card,
    picture: Image.Image | None = None,
    *,
    weight: float = 1.0,
    blocks: Mapping[str, float] | None = None,
    base: LoadBase | None = None,
) -> list[Path]:
    """Write ``target`` with ``weight`` and ``blocks`` built in, ``NAME.preview.png`` and ``NAME.json`` beside it.

    All three appear together. Asked again after it was cut off, it finishes what it began.

    Where nothing is built in, the tensors are those of ``source``, bit for bit. The metadata are those of ``source``
    under the new name, with the card as ``modelspec`` entries.

    Args:
        base: gives the weights that DoRA, GLoRA, IA3, OFT and BOFT act on; called to have something built into one.

    Returns:
        The files that were written.

    Raises:
        UserError: one of the files exists, ``source`` is damaged, or its algorithm needs the model's weights to have
            something built in.
    """
    beside = [target.with_suffix(".json"), *([target.with_suffix(".preview.png")] if picture is not None else [])]
    targets = [target, *beside]
    if set(finish_sets([target.parent])) >= set(targets):
        return targets  # this was asked for before, and cut off
    refuse_existing(targets)
    lora = open_lora(source)
    kept, dtype = _contents(lora, weight, blocks, base)
    about_it = {**kept.metadata, **_entries(target.stem, card, picture)}
    with file_set(targets) as parts:
        write_lora(parts[0], kept.modules, about_it, dtype, extras={**kept.extras, **kept.unplaced})
        write_text(parts[1], json.dumps(card_file(lora, card), indent=4, ensure_ascii=False))
        if picture is not None:
            save_png(_smaller(picture, CARD_SIDE), parts[2])
    return targets


def _contents(
    lora: LoraFile, weight: float, blocks: Mapping[str, float] | None, base: LoadBase | None
) -> tuple[LoraFile, torch.dtype | None]:
    """The new file and its precision."""
    if weight == 1 and blocks is None:
        return lora, None
    weights = base() if base is not None and needs_base(lora) else None
    merged = combine([(lora, weight, blocks)], base=weights).file()
    return replace(merged, metadata={**lora.metadata, **merged.metadata}), torch.float16


def _entries(name: str, card: Card, picture: Image.Image | None) -> dict[str, str]:
    return {
        **about.kohya({"output_name": name}),  # web UIs take this for the name in <lora:NAME:1>
        **about.modelspec(
            title=name,
            trigger_phrase=card.activation or None,
            description=card.description or None,
            usage_hint=f"weight {card.weight:g}",
            thumbnail=None if picture is None else data_url(_smaller(picture, THUMBNAIL_SIDE)),
        ),
    }


def _smaller(picture: Image.Image, side: int) -> Image.Image:
    """At most ``side`` pixels high and wide."""
    copy = picture.convert("RGB")
    copy.thumbnail((side, side))
    if text := picture.info.get(PARAMETERS):
        copy.info[PARAMETERS] = text
    return copy
