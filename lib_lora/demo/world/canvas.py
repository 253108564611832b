"""A canvas that paints shapes twice: their fill, and their outline on a layer of its own, so that styles can differ."""

from __future__ import annotations

import math

from PIL import Image, ImageDraw

from .spec import Color

Point = tuple[float, float]
INK: Color = (40, 28, 44)


def mix(a: Color, b: Color, t: float) -> Color:
    """``a`` moved towards ``b`` by the share ``t``."""
    return tuple(round(x * (1 - t) + y * t) for x, y in zip(a, b, strict=True))  # type: ignore[return-value]


def smooth(points: list[Point], steps: int = 6) -> list[Point]:
    """Closed Catmull-Rom curve through ``points``."""
    out = []
    n = len(points)
    for i in range(n):
        p0, p1, p2, p3 = points[i - 1], points[i], points[(i + 1) % n], points[(i + 2) % n]
        for j in range(steps):
            t = j / steps
            out.append(
                tuple(
                    0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t * t + (3 * b - a - 3 * c + d) * t**3)
                    for a, b, c, d in zip(p0, p1, p2, p3, strict=True)
                )
            )
    return out


def ellipse(x: float, y: float, rx: float, ry: float, start: float = 0, end: float = 360, n: int = 28) -> list[Point]:
    """``n`` + 1 points of an elliptic arc around (x, y); angles in degrees, clockwise on the page from the right."""
    angles = (math.radians(start + (end - start) * i / n) for i in range(n + 1))
    return [(x + rx * math.cos(a), y + ry * math.sin(a)) for a in angles]


class Canvas:
    """Figure coordinates: the head's centre is (0, 0), its radius about 1, y points down, the soles are at y ≈ 3."""

    def __init__(self, background: Image.Image, line_width: float):
        self.fill = background.copy()
        self.outline = Image.new("L", background.size, 0)
        self.mask = Image.new("L", background.size, 0)
        self._pens = [ImageDraw.Draw(i) for i in (self.fill, self.outline, self.mask)]
        self.line_width = max(1, round(line_width))
        self.place(0, 0, 1)

    def place(self, x: float, y: float, scale: float, tilt: float = 0.0) -> None:
        """Put figure coordinates at pixel (x, y), ``scale`` pixels a unit, tilted by ``tilt`` radians."""
        self.x, self.y, self.scale = x, y, scale
        self._cos, self._sin = math.cos(tilt), math.sin(tilt)

    def _pixels(self, points: list[Point]) -> list[Point]:
        k, c, s = self.scale, self._cos, self._sin
        return [(self.x + k * (px * c - py * s), self.y + k * (px * s + py * c)) for px, py in points]

    def shape(self, points: list[Point], color: Color, outlined: bool = True) -> None:
        """A filled polygon of ``points`` in units of the picture; with ``outlined`` a dark line around it."""
        p = self._pixels(points)
        fill, outline, mask = self._pens
        fill.polygon(p, fill=color)
        mask.polygon(p, fill=255)
        outline.polygon(p, fill=0)
        if outlined:
            outline.line([*p, p[0], p[1]], fill=255, width=self.line_width, joint="curve")

    def stroke(self, points: list[Point], color: Color, width: float) -> None:
        """A line through ``points``, ``width`` units wide."""
        p = self._pixels(points)
        w = max(1, round(width * self.scale))
        self._pens[0].line(p, fill=color, width=w, joint="curve")
        self._pens[1].line(p, fill=0, width=w)

    def limb(self, start: Point, end: Point, w0: float, w1: float, color: Color) -> None:
        """A tapered limb with a round end."""
        (x0, y0), (x1, y1) = start, end
        angle = math.atan2(y1 - y0, x1 - x0)
        nx, ny = -math.sin(angle), math.cos(angle)
        cap = [
            (
                x1 + w1 * math.cos(angle - math.pi / 2 + math.pi * i / 8),
                y1 + w1 * math.sin(angle - math.pi / 2 + math.pi * i / 8),
            )
            for i in range(9)
        ]
        self.shape([(x0 + nx * w0, y0 + ny * w0), (x0 - nx * w0, y0 - ny * w0), *cap], color)
