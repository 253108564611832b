"""Image files: what the header says, and pixels for the VAE."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, ImageOps

from lib_lora.dataset.buckets import Size
from lib_lora.dataset.problems import BadFile, check_ends

MAX_PIXELS = 89_478_485  # Pillow's own limit; hosts may have switched that off
ORIENTATION_TAG = 0x0112
ROTATED_ORIENTATIONS = (5, 6, 7, 8)


class Header(NamedTuple):
    """Size as seen (EXIF rotation applied), format name (``"PNG"``), and whether there are several frames."""

    size: Size
    kind: str
    animated: bool


def read_header(path: Path) -> Header:
    """What an image file says of itself, without decoding any pixel.

    Raises:
        BadFile: empty, unreadable, not an image, or so large that decoding it could exhaust the memory.
    """
    check_ends(path)
    try:
        with Image.open(path) as image:
            size, kind = image.size, image.format or ""
            animated = bool(getattr(image, "is_animated", False)) and kind != "MPO"  # MPO: a photo and its preview
            orientation = Image.Image.getexif(image).get(ORIENTATION_TAG)  # the PNG override may decode
    except Exception as error:  # a decoder may raise anything on a damaged file; it is always about this file
        raise _bad_file(path, error) from error
    if size[0] * size[1] > MAX_PIXELS:
        raise _bad_file(path, Image.DecompressionBombError())
    return Header((size[1], size[0]) if orientation in ROTATED_ORIENTATIONS else size, kind, animated)


def has_alpha(path: Path) -> bool:
    """Whether the format of this file's picture knows transparency; nothing is decoded.

    Raises:
        BadFile: see `read_header`.
    """
    check_ends(path)
    try:
        with Image.open(path) as image:
            return _has_alpha(image)
    except Exception as error:  # see read_header
        raise _bad_file(path, error) from error


def load_rgb(path: Path, at_least: int = 0) -> Image.Image:
    """The picture as a viewer shows it: EXIF rotation applied, transparency on white, 8-bit RGB.

    Args:
        at_least: a JPEG may be decoded at a half, quarter or eighth, as long as its sides keep that many pixels.

    Raises:
        BadFile: damaged or cut off.
    """
    return _load(path, at_least, _to_rgb)


def load_rgba(path: Path, at_least: int = 0) -> Image.Image:
    """As `load_rgb`, but transparency stays."""
    return _load(path, at_least, _to_rgba)


def _load(path: Path, at_least: int, convert: Callable[[Image.Image], Image.Image]) -> Image.Image:
    check_ends(path)
    try:
        with Image.open(path) as image:
            if at_least:
                image.draft("RGB", (at_least, at_least))
            image.load()
            return convert(ImageOps.exif_transpose(image))
    except Exception as error:  # see read_header
        raise _bad_file(path, error) from error


def fit(image: Image.Image, size: Size, place: float = 0.5) -> Image.Image:
    """Resize to cover ``size`` and crop what is too long, in one resampling (Lanczos).

    Args:
        place: of the crop, from 0 (left or top) to 1; 0.5 is the centre.
    """
    scale = max(size[0] / image.width, size[1] / image.height)
    width, height = size[0] / scale, size[1] / scale
    left, top = (image.width - width) * place, (image.height - height) * place
    box = (max(0.0, left), max(0.0, top), min(image.width, left + width), min(image.height, top + height))
    return image.resize(size, Image.Resampling.LANCZOS, box=box)


def to_tensor(image: Image.Image) -> torch.Tensor:
    """RGB picture -> float32 [3, H, W] in [-1, 1]."""
    pixels = torch.from_numpy(np.array(image, dtype=np.float32))
    return (pixels / 127.5 - 1.0).permute(2, 0, 1).contiguous()


def load_pixels(path: Path, size: Size, flip: bool = False, place: float = 0.5) -> torch.Tensor:
    """Image file -> float32 [3, height, width] in [-1, 1], covering the bucket ``size``, mirrored if ``flip``.

    ``place``: as in :func:`fit`.
    """
    image = fit(load_rgb(path), size, place)
    return to_tensor(ImageOps.mirror(image) if flip else image)


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        return _eight_bit(image).convert("RGB")
    if _has_alpha(image):
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("RGB")
    return image.convert("RGB")


def _to_rgba(image: Image.Image) -> Image.Image:
    return (image if _has_alpha(image) else _to_rgb(image)).convert("RGBA")


def _has_alpha(image: Image.Image) -> bool:
    return image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info


def _eight_bit(image: Image.Image) -> Image.Image:
    """Grey levels of 16 bits -> 8 bits; Pillow's own convert() would clip them to white."""
    levels = np.asarray(image).astype(np.float32).clip(0, 65535)
    return Image.fromarray((levels / 257 + 0.5).astype(np.uint8))


def _bad_file(path: Path, error: Exception) -> BadFile:
    if isinstance(error, FileNotFoundError):
        return BadFile("the file is not there any more", where=path, fix="Put it back, or scan again")
    if isinstance(error, PermissionError):
        return BadFile("the file may not be read", where=path, fix="Give yourself the right to read it")
    if isinstance(error, Image.DecompressionBombError):
        limit = f"the image has more than {MAX_PIXELS // 1_000_000} million pixels"
        return BadFile(limit, where=path, fix="Make it smaller")
    if path.stat().st_size == 0:
        return BadFile("the file is empty", where=path, fix="Download or export it again, or delete it")
    if isinstance(error, Image.UnidentifiedImageError):
        what = "the content is not an image of a known format"
        return BadFile(what, where=path, fix="Convert it to PNG or JPEG, or delete it")
    return BadFile(f"the image is damaged ({error})", where=path, fix="Download or export it again, or delete it")
