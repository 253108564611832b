"""Drawing styles at random, for an autoencoder that shall see styles which the denoiser never draws.

A large model's VAE has seen every way of drawing. One that has seen only the world's four bends the colours of any
other: of dark pictures it makes nights.
"""

from __future__ import annotations

import random

from PIL import Image, ImageEnhance, ImageFilter

from ..world.canvas import Canvas, Color, mix
from ..world.render import Style

BLACK: Color = (0, 0, 0)
WHITE: Color = (255, 255, 255)


def random_style(r: random.Random) -> Style:
    """A wash over figure and background, lines of a width and of one colour or that of what they border, and a glow."""
    saturation = r.uniform(0.5, 1.8)
    paper, wash = _tone(r), r.uniform(0, 0.9)
    on_figure = wash if r.random() < 0.6 else r.uniform(0, 0.9)
    width, strength, glow = r.choice((0, 1, 3, 5)), r.uniform(0.4, 1), r.choice((0.0, r.uniform(0.2, 0.7)))
    ink = _tone(r) if r.random() < 0.4 else None
    vividness, light = r.uniform(1, 4), r.uniform(0.5, 2)

    def paint(cv: Canvas, _: Image.Image) -> Image.Image:
        fill = ImageEnhance.Color(cv.fill).enhance(saturation)
        sheet = Image.new("RGB", fill.size, paper)
        washed = Image.composite(Image.blend(fill, sheet, on_figure), Image.blend(fill, sheet, wash), cv.mask)
        if not width:
            return washed
        if ink is None:
            wide = cv.fill.filter(ImageFilter.MaxFilter(5))
            lines = ImageEnhance.Brightness(ImageEnhance.Color(wide).enhance(vividness)).enhance(light)
        else:
            lines = Image.new("RGB", fill.size, ink)
        outline = cv.outline.filter(ImageFilter.MaxFilter(width)) if width > 1 else cv.outline
        halo = outline.filter(ImageFilter.GaussianBlur(cv.line_width * 1.6)).point(lambda v: int(v * glow))
        shone = Image.composite(lines, washed, halo)
        return Image.composite(Image.blend(shone, lines, strength), shone, outline)

    return paint


def _tone(r: random.Random) -> Color:
    """Any colour, oftener a light one, and mostly a dark one."""
    color = (r.randrange(256), r.randrange(256), r.randrange(256))
    return mix(color, r.choice((BLACK, BLACK, BLACK, WHITE)), r.uniform(0, 1))
