"""Signatures and watermarks painted over, in a copy beside the picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from lib_lora.dataset.collection.captions import text_with
from lib_lora.dataset.collection.change import Change, Operation
from lib_lora.dataset.collection.picture import Picture
from lib_lora.dataset.pictures.area import Shape, bounds, drawn
from lib_lora.dataset.pictures.fill import filled
from lib_lora.dataset.pictures.making import operations
from lib_lora.dataset.tags.edits import Remove

ENDING = "_erased"
ERASED_TAGS = ("signature", "watermark", "artist name", "web address", "dated", "logo", "twitter username")


def plan_erased(pictures: Sequence[Picture], shapes: tuple[Shape, ...]) -> Change:
    """The same area of each picture filled from its surroundings; tags such as "signature" are left out.

    Raises:
        UserError: nothing inside a picture is marked.
    """
    made: list[Operation] = []
    for picture in pictures:
        bounds(shapes, picture.size)
        caption = text_with(picture, Remove(ERASED_TAGS)(picture.tags))
        made += operations(picture, ENDING, lambda image: erased(image, shapes), caption)
    return Change("Erase an area", tuple(made), {"pictures made": len(pictures)})


def erased(image: Image.Image, shapes: tuple[Shape, ...]) -> Image.Image:
    """RGBA -> RGBA without what is marked; transparency stays as it is."""
    pixels = np.asarray(image)
    hole = np.asarray(drawn(shapes, image.size)) > 0
    unknown = hole | (pixels[..., 3] == 0)
    colours = filled(pixels[..., :3].astype(np.float32), unknown)
    result = pixels.copy()
    result[..., :3][hole] = (colours[hole] + 0.5).astype(np.uint8)
    return Image.fromarray(result)
