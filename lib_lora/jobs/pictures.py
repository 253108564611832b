"""Pictures that remember how they were made."""

from __future__ import annotations

from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from lib_lora.files import atomic_write


def save_png(image: Image.Image, path: Path) -> Path:
    """Write a PNG with the image's ``info["parameters"]``, which hosts read back as generation parameters."""
    info = PngInfo()
    if "parameters" in image.info:
        info.add_text("parameters", image.info["parameters"])
    with atomic_write(path) as part:
        image.save(part, format="PNG", pnginfo=info)
    return path
