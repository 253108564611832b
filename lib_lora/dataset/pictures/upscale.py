"""Larger copies of small pictures, through whatever upscaler the host has."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from PIL import Image

from lib_lora.dataset.collection.change import Change, Example, Make, Operation
from lib_lora.dataset.collection.picture import Picture
from lib_lora.dataset.pictures.fill import filled
from lib_lora.dataset.pictures.making import operations

Upscale = Callable[[Image.Image, float], Image.Image]  # RGB, factor above 1 -> RGB; see Host.upscale
ENDING = "_upscaled"
EXAMPLES = 5


def plan_upscaled(pictures: Sequence[Picture], least: int, upscale: Upscale, *, quick: bool = False) -> Change:
    """Copies whose shorter side has ``least`` pixels; pictures that have them already are left out.

    Args:
        quick: ``upscale`` is no network, so that a plan can show what comes out.
    """
    small = [picture for picture in pictures if min(picture.size) < least]
    made: list[Operation] = []
    examples: list[Example] = []
    for picture in small:
        factor = least / min(picture.size)
        steps = operations(picture, ENDING, partial(enlarged, factor=factor, upscale=upscale), picture.text)
        made += [replace(step, quick=quick) if isinstance(step, Make) else step for step in steps]
        width, height = picture.size
        after = f"{round(width * factor)}×{round(height * factor)}"
        examples.append(Example(picture.path, f"{width}×{height}", after))
    counts = {"pictures made": len(small), "large enough already": len(pictures) - len(small)}
    return Change("Upscale", tuple(made), counts, tuple(examples[:EXAMPLES]))


def enlarged(image: Image.Image, factor: float, upscale: Upscale) -> Image.Image:
    """RGBA -> RGBA. Upscalers know no transparency: colours and alpha are enlarged apart.

    What is transparent gets the colours around it first, so that no fringe grows into the figure.
    """
    size = round(image.width * factor), round(image.height * factor)
    alpha = image.getchannel("A")
    colours = image.convert("RGB")
    if alpha.getextrema()[0] < 255:
        pixels = filled(np.asarray(colours, np.float32), np.asarray(alpha) == 0)
        colours = Image.fromarray((pixels + 0.5).clip(0, 255).astype(np.uint8))
    result = upscale(colours, factor)
    result = (result if result.size == size else result.resize(size, Image.Resampling.LANCZOS)).convert("RGBA")
    result.putalpha(alpha.resize(size, Image.Resampling.LANCZOS))
    return result
