"""What lies beside a LoRA file: the web UI's card ``NAME.json``, and its preview picture."""

from __future__ import annotations

import base64
import binascii
import io
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from ..adapters.file import LoraFile, read_metadata
from ..errors import UserError
from ..small_files import mapping, tolerated

PREVIEWS = (".preview.png", ".preview.jpg", ".preview.jpeg", ".preview.webp", ".png", ".jpg", ".jpeg", ".webp")
DATA_URL = "base64,"


@dataclass(frozen=True)
class Card:
    """What the web UI shows of a LoRA, and puts into the prompt with it.

    Args:
        activation: text that is added to the prompt.
        weight: that is proposed; 1 where it is built into the file.
        description: for the user.
        negative: text that is added to the negative prompt.
        notes: for oneself; not published.
    """

    activation: str = ""
    weight: float = 1.0
    description: str = ""
    negative: str = ""
    notes: str = ""


def read_card(lora: Path) -> Card | None:
    """The card beside a LoRA file; None where there is none that can be read."""
    return tolerated(lora.with_suffix(".json"), _card, None)


def card_file(lora: LoraFile, card: Card) -> dict[str, object]:
    """``NAME.json`` by the names that A1111's card editor reads and writes."""
    named = any(one.marking.fits(lora.metadata) for one in lora.families or ())
    return {
        "description": card.description,
        "sd version": lora.family.short if named else "Unknown",
        "activation text": card.activation,
        "preferred weight": card.weight,
        "negative text": card.negative,
        "notes": card.notes,
    }


def _card(content: Any) -> Card:
    card = mapping(content)

    def text(name: str) -> str:
        return str(card.get(name) or "").strip()

    weight = card.get("preferred weight")
    number = float(weight) if isinstance(weight, (int, float)) and weight else 1.0
    return Card(text("activation text"), number, text("description"), text("negative text"))


def trigger_in(metadata: Mapping[str, str]) -> str:
    """What a file itself says has to be in the prompt; empty where it says nothing."""
    return metadata.get("modelspec.trigger_phrase", "").strip()


def preview_of(lora: Path, side: int) -> Image.Image | None:
    """The picture beside a LoRA file, else the thumbnail in its header, at most ``side`` pixels high and wide."""
    for path in map(lora.with_suffix, PREVIEWS):
        if path.is_file() and (picture := thumbnail(path, side)) is not None:
            return picture
    with suppress(OSError, ValueError, UserError, binascii.Error, Image.DecompressionBombError):
        _, found, data = read_metadata(lora).get("modelspec.thumbnail", "").partition(DATA_URL)
        if found:
            return _small(Image.open(io.BytesIO(base64.b64decode(data))), side)
    return None


def thumbnail(path: Path, side: int) -> Image.Image | None:
    """A picture file, at most ``side`` pixels high and wide; None where it cannot be read."""
    with suppress(OSError, ValueError, Image.DecompressionBombError):
        return _small(Image.open(path), side)
    return None


def jpeg(picture: Image.Image, quality: int = 85) -> bytes:
    """A picture as a small file."""
    buffer = io.BytesIO()
    picture.convert("RGB").save(buffer, format="JPEG", quality=quality)
    return buffer.getvalue()


def data_url(picture: Image.Image) -> str:
    """A picture as text that stands in a page or in a file's header."""
    return f"data:image/jpeg;{DATA_URL}{base64.b64encode(jpeg(picture)).decode('ascii')}"


def _small(picture: Image.Image, side: int) -> Image.Image:
    with picture:
        picture.draft("RGB", (side, side))
        small = picture.convert("RGB")
    small.thumbnail((side, side))
    return small
