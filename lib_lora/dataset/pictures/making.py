"""A new picture beside an old one, with its caption and mask: the common part of mirroring and cropping."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from PIL import Image

from lib_lora.dataset.collection.change import Make, Operation, Write
from lib_lora.dataset.collection.moving import derived
from lib_lora.dataset.collection.opening import MASK_ENDING
from lib_lora.dataset.collection.picture import Picture
from lib_lora.dataset.images import load_rgba

Transform = Callable[[Image.Image], Image.Image]
JPEG_QUALITY = 95
LOSSLESS = ("PNG", "WEBP")


def operations(picture: Picture, ending: str, transform: Transform, caption: str) -> Iterator[Operation]:
    """Write ``name`` + ``ending`` beside the picture: transformed pixels and mask, and this caption."""
    suffix = picture.path.suffix.lower() if picture.path.suffix.lower() in (".png", ".webp", ".jpg") else ".png"
    path = derived(picture.path, ending, suffix)
    yield Make(path, lambda target: save(transform(load_rgba(picture.path)), target, suffix))
    if caption.strip():
        yield Write(path.with_suffix(picture.caption.suffix), caption.encode())
    if mask := picture.mask:
        beside = path.with_name(f"{path.stem}{MASK_ENDING}.png")
        yield Make(beside, lambda target: save(transform(load_rgba(mask)), target, ".png"))


def save(image: Image.Image, path: Path, suffix: str) -> None:
    """Write a picture in the format that ``suffix`` names, whatever ``path`` is called; alpha only if it is used."""
    kind = Image.registered_extensions()[suffix]
    if image.mode == "RGBA" and (kind not in LOSSLESS or image.getextrema()[3][0] == 255):
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image).convert("RGB")
    options = {"lossless": True} if kind == "WEBP" else {"quality": JPEG_QUALITY} if kind == "JPEG" else {}
    image.save(path, kind, **options)
