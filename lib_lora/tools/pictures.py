"""Pictures with their generation parameters, in PNG files."""

from __future__ import annotations

from pathlib import Path

from PIL import Image, PngImagePlugin

from ..files import atomic_write

PARAMETERS = "parameters"  # the PNG text chunk that web UIs read back


def save_png(image: Image.Image, path: str | Path) -> Path:
    """Write ``image``, whole or not at all, with ``image.info["parameters"]`` if there is one."""
    path = Path(path)
    chunks = PngImagePlugin.PngInfo()
    if text := image.info.get(PARAMETERS):
        chunks.add_text(PARAMETERS, text)
    with atomic_write(path) as part:
        image.save(part, format="PNG", pnginfo=chunks)
    return path


def read_png(path: str | Path) -> Image.Image:
    """An RGB picture with its ``info``; the file is closed when this returns."""
    with Image.open(path) as image:
        image.load()
        picture = image.convert("RGB")
        picture.info = dict(image.info)
    return picture
