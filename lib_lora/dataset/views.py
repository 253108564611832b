"""The ways in which a run sees one picture: mirrored, in slightly other colours, cropped elsewhere.

There are a few fixed views of each picture, not endless ones, so that latents can be cached.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

COUNT = 4  # of views beside mirroring; the first is the picture as it is
PLACES = (
    0.5,
    0.0,
    1.0,
    0.25,
)  # of the crop on what is too long, from its beginning to its end; the first is the centre
HUE = math.radians(8)
SATURATION, BRIGHTNESS, CONTRAST = 0.1, 0.05, 0.05
# Luma and two axes of colour (NTSC's YIQ): a rotation of these is a change of hue that keeps the brightness
_YIQ = torch.tensor([[0.299, 0.587, 0.114], [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]], dtype=torch.float64)


@dataclass(frozen=True)
class View:
    """One way to see a picture.

    Attributes:
        flipped: mirrored.
        colour: number of its colours, 0 for its own.
        crop: number of the place of its crop, 0 for the centre.
    """

    flipped: bool = False
    colour: int = 0
    crop: int = 0

    @property
    def place(self) -> float:
        """Where the crop lies on what is too long: 0 at its beginning, 1 at its end."""
        return PLACES[self.crop]


PLAIN = View()


def views(flip: bool, colour: bool, crop: bool) -> Iterator[View]:
    """All that a run with these settings may draw, the plain one first."""
    for number in range(COUNT if colour or crop else 1):
        for flipped in (False, True) if flip else (False,):
            yield View(flipped, number if colour else 0, number if crop else 0)


def drawn(random: random.Random, flipped: bool, colour: bool, crop: bool) -> View:
    """One of them at random, mirrored or not as said."""
    if not (colour or crop):
        return View(flipped)
    number = random.randrange(COUNT)
    return View(flipped, number if colour else 0, number if crop else 0)


def recoloured(pixels: Tensor, seed: str, number: int) -> Tensor:
    """``pixels`` [3, H, W] in [-1, 1] with hue, saturation, brightness and contrast a little off; the first as it is.

    Args:
        seed: of the picture, so that pictures differ and a picture is always the same.
        number: which of its views.
    """
    if number == 0:
        return pixels
    draw = random.Random(f"{seed}/{number}")
    angle, saturation = draw.uniform(-HUE, HUE), 1 + draw.uniform(-SATURATION, SATURATION)
    brightness, contrast = 1 + draw.uniform(-BRIGHTNESS, BRIGHTNESS), 1 + draw.uniform(-CONTRAST, CONTRAST)
    cos, sin = saturation * math.cos(angle), saturation * math.sin(angle)
    turned = torch.tensor([[1.0, 0.0, 0.0], [0.0, cos, -sin], [0.0, sin, cos]], dtype=torch.float64)
    matrix = (torch.linalg.inv(_YIQ) @ turned @ _YIQ).to(pixels)
    colours = torch.einsum("ij,jhw->ihw", matrix, (pixels + 1) / 2) * brightness
    middle = (_YIQ[0].to(pixels)[:, None, None] * colours).sum(0).mean()
    return (((colours - middle) * contrast + middle).clamp(0, 1) * 2 - 1).contiguous()
