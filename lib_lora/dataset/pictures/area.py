"""Part of a picture that was marked by hand: rectangles and brush strokes, in fractions of its size."""

from __future__ import annotations

import json
from dataclasses import dataclass

from PIL import Image, ImageDraw

from lib_lora.dataset.buckets import Size
from lib_lora.errors import UserError


@dataclass(frozen=True)
class Rectangle:
    """Sides in fractions of width and height, 0 to 1."""

    left: float
    top: float
    right: float
    bottom: float

    def pixels(self, size: Size) -> tuple[int, int, int, int]:
        """(left, top, right, bottom) in pixels of a picture of this (width, height)."""
        sides = (self.left, size[0]), (self.top, size[1]), (self.right, size[0]), (self.bottom, size[1])
        left, top, right, bottom = (round(part * length) for part, length in sides)
        return left, top, right, bottom


@dataclass(frozen=True)
class Stroke:
    """A brush of this radius (in fractions of the width) along a line of points (x, y), 0 to 1 each."""

    radius: float
    points: tuple[tuple[float, float], ...]


Shape = Rectangle | Stroke


def parse_area(text: str) -> tuple[Shape, ...]:
    """Shapes of a JSON list: ``{"box": [l, t, r, b]}`` and ``{"radius": r, "points": [[x, y], …]}``.

    Raises:
        UserError: nothing is marked, or the text is no such list.
    """
    try:
        shapes = tuple(_shape(entry) for entry in json.loads(text or "[]"))
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"The marked area cannot be read ({error})", where="area", fix="Mark it again") from error
    if not shapes:
        raise UserError("Nothing is marked", where="area", fix="Draw a box or a stroke on the picture")
    return shapes


def drawn(shapes: tuple[Shape, ...], size: Size) -> Image.Image:
    """Grey picture of (width, height): 255 inside the shapes, else 0."""
    image = Image.new("L", size)
    pen = ImageDraw.Draw(image)
    for shape in shapes:
        if isinstance(shape, Rectangle):
            image.paste(255, shape.pixels(size))
        else:
            _stroke(pen, shape, size)
    return image


def bounds(shapes: tuple[Shape, ...], size: Size) -> tuple[int, int, int, int]:
    """The smallest box in pixels around everything that is marked.

    Raises:
        UserError: all of it is outside the picture.
    """
    box = drawn(shapes, size).getbbox()
    if box is None:
        raise UserError("The marked area is empty", where="area", fix="Mark a part of the picture")
    return box


def _shape(entry: dict) -> Shape:
    if "box" in entry:
        left, top, right, bottom = (min(1.0, max(0.0, float(value))) for value in entry["box"])
        return Rectangle(min(left, right), min(top, bottom), max(left, right), max(top, bottom))
    return Stroke(float(entry["radius"]), tuple((float(x), float(y)) for x, y in entry["points"]))


def _stroke(pen: ImageDraw.ImageDraw, stroke: Stroke, size: Size) -> None:
    width, height = size
    radius = max(1.0, stroke.radius * width)
    points = [(x * width, y * height) for x, y in stroke.points]
    for x, y in points:
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=255)
    if len(points) > 1:
        pen.line(points, fill=255, width=round(2 * radius))
