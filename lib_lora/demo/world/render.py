"""Spec → picture: background, figures, drawing style. Deterministic by ``spec.seed``."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageOps

from .canvas import Canvas
from .figure import draw_character
from .spec import PLAIN, Spec

OVERSAMPLING = 2
FRAMING = {
    "close-up": (0.60, 0.36),
    "upper body": (0.44, 0.255),
    "full body": (0.385, 0.192),
}  # head's y, scale ÷ height
SKETCH_PAPER = (252, 250, 246)
NEON_DARKNESS = 0.66  # at 0.82 shades were so near each other that a LoRA learned little more than their mean
Style = Callable[[Canvas, Image.Image], Image.Image]  # what was painted, and the background alone


def render(spec: Spec, style: Style | None = None) -> Image.Image:
    """Return an RGB picture of ``spec.size``; the same spec always gives the same pixels.

    Args:
        spec: what to draw.
        style: draw it like this instead of in the spec's own style.
    """
    r = random.Random(spec.seed)
    width, height = (n * OVERSAMPLING for n in spec.size)
    background = _background(spec.background, width, height, r)
    canvas = Canvas(background, line_width=height / 85)
    _place_figures(canvas, spec, width, height, r)
    picture = (style or _STYLES[spec.style])(canvas, background).resize(spec.size, Image.Resampling.LANCZOS)
    return ImageOps.mirror(picture) if spec.flip else picture


def _place_figures(canvas: Canvas, spec: Spec, width: int, height: int, r: random.Random) -> None:
    head_y, scale = FRAMING[spec.view]
    n = len(spec.characters)
    if n > 1 and width == height:
        scale *= 0.86
    for i, character in enumerate(spec.characters):
        k = height * scale * r.uniform(0.95, 1.03)
        x = width * (i + 0.5) / n if n > 1 else width / 2
        x += (r.uniform(-0.045, 0.045) if n == 1 else r.uniform(-0.015, 0.015)) * height
        y = height * (head_y + (0.05 if n > 1 and width == height else 0) + r.uniform(-0.012, 0.012))
        canvas.place(x, y, k, tilt=r.uniform(-0.05, 0.05))
        draw_character(canvas, character, spec.angle)


def _background(name: str, w: int, h: int, r: random.Random) -> Image.Image:
    picture = Image.new("RGB", (w, h), PLAIN.get(name, (255, 255, 255)))
    if name in _SCENES:
        _SCENES[name](ImageDraw.Draw(picture), w, h, r)
    return picture


def _disc(d: ImageDraw.ImageDraw, x: float, y: float, rx: float, ry: float, fill: tuple[int, int, int]) -> None:
    d.ellipse((x - rx, y - ry, x + rx, y + ry), fill=fill)


def _outdoors(d: ImageDraw.ImageDraw, w: int, h: int, r: random.Random) -> None:
    d.rectangle((0, 0, w, h), fill=(150, 208, 250))
    for _ in range(2):
        x, y = r.uniform(0, w), r.uniform(0.06, 0.25) * h
        for k in (-1, 0, 1):
            _disc(d, x + k * h * 0.07, y, h * 0.07, h * 0.04, (255, 255, 255))
    horizon = int(h * r.uniform(0.6, 0.72))
    d.rectangle((0, horizon, w, h), fill=(122, 196, 92))
    x = w * r.choice((0.1, 0.9))
    d.rectangle((x - h * 0.03, horizon - h * 0.3, x + h * 0.03, horizon + h * 0.02), fill=(126, 86, 52))
    _disc(d, x, horizon - h * 0.37, h * 0.16, h * 0.18, (64, 148, 70))


def _night(d: ImageDraw.ImageDraw, w: int, h: int, r: random.Random) -> None:
    d.rectangle((0, 0, w, h), fill=(28, 30, 78))
    for _ in range(26):
        q = r.uniform(0.004, 0.01) * h
        _disc(d, r.uniform(0, w), r.uniform(0, h * 0.8), q, q, (250, 246, 200))
    _disc(d, w * r.choice((0.15, 0.85)), h * 0.14, h * 0.09, h * 0.09, (250, 240, 170))


def _beach(d: ImageDraw.ImageDraw, w: int, h: int, r: random.Random) -> None:
    d.rectangle((0, 0, w, h), fill=(140, 214, 250))
    shore = int(h * r.uniform(0.42, 0.52))
    d.rectangle((0, shore, w, h), fill=(40, 130, 210))
    d.rectangle((0, int(shore + h * 0.2), w, h), fill=(244, 220, 156))
    _disc(d, w * r.choice((0.14, 0.86)), h * 0.16, h * 0.1, h * 0.1, (255, 226, 90))


def _indoors(d: ImageDraw.ImageDraw, w: int, h: int, r: random.Random) -> None:
    d.rectangle((0, 0, w, h), fill=(242, 224, 196))
    d.rectangle((0, int(h * r.uniform(0.68, 0.78)), w, h), fill=(170, 118, 76))
    x = r.choice((0.04 * h, w - 0.34 * h))
    d.rectangle((x, h * 0.1, x + h * 0.3, h * 0.44), fill=(255, 255, 255))
    d.rectangle((x + h * 0.02, h * 0.12, x + h * 0.28, h * 0.42), fill=(160, 214, 250))
    d.rectangle((x + h * 0.14, h * 0.12, x + h * 0.16, h * 0.42), fill=(255, 255, 255))


_SCENES = {"outdoors": _outdoors, "night": _night, "beach": _beach, "indoors": _indoors}


def _inked(fill: Image.Image, outline: Image.Image, ink: tuple[int, int, int], strength: float) -> Image.Image:
    return Image.composite(Image.blend(fill, Image.new("RGB", fill.size, ink), strength), fill, outline)


def _anime(cv: Canvas, _: Image.Image) -> Image.Image:
    return _inked(cv.fill, cv.outline, (30, 16, 40), 0.7)


def _flat(cv: Canvas, _: Image.Image) -> Image.Image:
    return cv.fill


def _pastel(cv: Canvas, _: Image.Image) -> Image.Image:
    soft = Image.blend(cv.fill, Image.new("RGB", cv.fill.size, (255, 248, 244)), 0.38)
    soft = soft.filter(ImageFilter.GaussianBlur(cv.line_width * 0.5))
    return _inked(soft, cv.outline, (160, 120, 160), 0.45)


def _sketch(cv: Canvas, _: Image.Image) -> Image.Image:
    paper = Image.new("RGB", cv.fill.size, SKETCH_PAPER)
    washed = Image.composite(Image.blend(cv.fill, paper, 0.45), Image.blend(cv.fill, paper, 0.7), cv.mask)
    return _inked(washed, cv.outline.filter(ImageFilter.MaxFilter(3)), (84, 84, 92), 0.85)


def _neon(cv: Canvas, _: Image.Image) -> Image.Image:
    dark = Image.blend(cv.fill, Image.new("RGB", cv.fill.size, (12, 8, 30)), NEON_DARKNESS)
    vivid = np.asarray(cv.fill.filter(ImageFilter.MaxFilter(5)), np.float32)
    low, high = vivid.min(2, keepdims=True) * 0.8, vivid.max(2, keepdims=True)
    glow = Image.fromarray(((vivid - low) / (high - low + 1) * 255).clip(60, 255).astype(np.uint8))
    lines = cv.outline.filter(ImageFilter.MaxFilter(5))
    halo = lines.filter(ImageFilter.GaussianBlur(cv.line_width * 1.6)).point(lambda v: int(v * 0.55))
    return Image.composite(glow, Image.composite(glow, dark, halo), lines)


_STYLES = {"anime": _anime, "flat color": _flat, "pastel colors": _pastel, "sketch": _sketch, "neon": _neon}
