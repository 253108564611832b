"""Draw one paper doll: back hair, legs, arms, outfit, head, front hair, hat — from back to front."""

from __future__ import annotations

import math

from .canvas import INK, Canvas, ellipse, mix, smooth
from .spec import CLOTH, EYES, HAIR, SKIN, Character, Color

WHITE: Color = (255, 255, 255)
SHOE: Color = (84, 60, 52)


def mirrored(points: list[tuple[float, float]], side: int) -> list[tuple[float, float]]:
    """The points as they are for ``side`` 1, mirrored at the vertical axis for -1."""
    return [(side * x, y) for x, y in points]


def draw_character(cv: Canvas, c: Character, angle: str) -> None:
    """One character, from what is farthest behind to what is in front, as ``angle`` shows it."""
    behind = angle == "from behind"
    if not behind:
        _back_hair(cv, c)
    _legs(cv, c)
    raised = {"arms down": (), "arms up": (-1, 1), "waving": (1,)}[c.pose]
    for side in (-1, 1):
        if side not in raised:
            _arm(cv, c, side, up=False)
    _outfit(cv, c, behind)
    for side in raised:
        _arm(cv, c, side, up=True)
    _head(cv, c, behind)
    if behind:
        _hair_from_behind(cv, c)
    else:
        _front_hair(cv, c)
    _hat(cv, c, behind)


def _back_hair(cv: Canvas, c: Character) -> None:
    hair = HAIR[c.hair]
    dark = mix(hair, (20, 10, 40), 0.24)
    if c.hairstyle == "long hair":
        cv.shape(
            smooth(
                [
                    (-0.95, -0.2),
                    (-1.1, 0.8),
                    (-1.04, 1.9),
                    (-0.5, 2.1),
                    (0.5, 2.1),
                    (1.04, 1.9),
                    (1.1, 0.8),
                    (0.95, -0.2),
                    (0, -0.9),
                ]
            ),
            dark,
        )
    elif c.hairstyle == "bob cut":
        cv.shape(
            smooth(
                [
                    (-1.0, -0.2),
                    (-1.16, 0.5),
                    (-1.04, 1.0),
                    (-0.4, 1.04),
                    (0.4, 1.04),
                    (1.04, 1.0),
                    (1.16, 0.5),
                    (1.0, -0.2),
                    (0, -0.9),
                ]
            ),
            dark,
        )
    elif c.hairstyle == "spiky hair":
        _spikes(cv, hair)
    else:
        if c.hairstyle == "twintails":
            _twintails(cv, c)
        cv.shape(ellipse(0, 0.02, 0.99, 0.92), dark)


def _twintails(cv: Canvas, c: Character) -> None:
    for side in (-1, 1):
        cv.shape(
            smooth(mirrored([(0.95, -0.55), (1.5, -0.45), (1.72, 0.7), (1.4, 1.8), (1.12, 1.0), (0.98, 0.1)], side)),
            HAIR[c.hair],
        )
        cv.shape(ellipse(side * 1.03, -0.42, 0.16, 0.16), CLOTH[c.bottom])


def _spikes(cv: Canvas, hair: Color) -> None:
    points = []
    for i in range(23):
        a = math.radians(150 + 240 * i / 22)
        radius = 1.02 if i % 2 == 0 else 1.42
        points.append((radius * math.cos(a), radius * math.sin(a)))
    cv.shape([*points, (0.6, 0.4), (-0.6, 0.4)], hair)


def _legs(cv: Canvas, c: Character) -> None:
    skin, lower = SKIN[c.skin], CLOTH[c.bottom]
    for side in (-1, 1):
        x = side * 0.27
        cv.limb((x, 1.75), (x * 1.05, 2.78), 0.24, 0.19, lower if c.outfit == "shirt and pants" else skin)
        if c.outfit == "sweater and shorts":
            cv.shape([(x - 0.3, 1.7), (x + 0.3, 1.7), (x + 0.3, 2.25), (x - 0.3, 2.25)], lower)
        cv.shape(ellipse(x * 1.05, 2.9, 0.28, 0.16), SHOE)


def _arm(cv: Canvas, c: Character, side: int, up: bool) -> None:
    skin, sleeve = SKIN[c.skin], CLOTH[c.top]
    long_sleeve = c.outfit in ("sweater and shorts", "kimono")
    shoulder = (side * 0.44, 1.1)
    elbow, hand = ((side * 0.98, 0.95), (side * 1.22, 0.3)) if up else ((side * 0.74, 1.5), (side * 0.82, 1.92))
    cv.limb(elbow, hand, 0.16 if long_sleeve else 0.13, 0.14, sleeve if long_sleeve else skin)
    cv.limb(shoulder, elbow, 0.19, 0.17, sleeve)
    if long_sleeve:
        if c.outfit == "kimono" and not up:
            cv.shape(
                [
                    (elbow[0] - side * 0.14, 1.3),
                    (elbow[0] + side * 0.16, 1.4),
                    (hand[0] + side * 0.24, 2.02),
                    (hand[0] - side * 0.22, 2.06),
                ],
                sleeve,
            )
        cv.shape(ellipse(hand[0], hand[1] + (-0.1 if up else 0.12), 0.13, 0.13), skin)


def _outfit(cv: Canvas, c: Character, behind: bool) -> None:
    skin, top, bottom = SKIN[c.skin], CLOTH[c.top], CLOTH[c.bottom]
    cv.shape([(-0.17, 0.7), (0.17, 0.7), (0.17, 1.1), (-0.17, 1.1)], skin)

    def trapezoid(w0: float, y0: float, w1: float, y1: float, color: Color, outlined: bool = True) -> None:
        cv.shape([(-w0, y0), (w0, y0), (w1, y1), (-w1, y1)], color, outlined)

    if c.outfit == "dress":
        cv.shape(
            smooth(
                [
                    (-0.48, 0.98),
                    (0, 0.93),
                    (0.48, 0.98),
                    (0.46, 1.5),
                    (0.92, 2.34),
                    (0, 2.44),
                    (-0.92, 2.34),
                    (-0.46, 1.5),
                ],
                5,
            ),
            top,
        )
        trapezoid(0.46, 1.46, 0.48, 1.58, mix(top, WHITE, 0.6), outlined=False)
    elif c.outfit == "kimono":
        cv.shape([(-0.5, 0.96), (0.5, 0.96), (0.52, 1.6), (0.6, 2.7), (-0.6, 2.7), (-0.52, 1.6)], top)
        trapezoid(0.54, 1.5, 0.54, 1.76, bottom)
        if not behind:
            cv.shape([(-0.22, 0.95), (0, 1.26), (0.22, 0.95), (0.32, 0.95), (0, 1.46), (-0.32, 0.95)], WHITE)
    elif c.outfit == "shirt and skirt":
        trapezoid(0.48, 0.98, 0.48, 1.75, top)
        trapezoid(0.48, 1.66, 0.92, 2.3, bottom)
    elif c.outfit == "shirt and pants":
        trapezoid(0.48, 0.98, 0.49, 1.84, top)
        trapezoid(0.49, 1.78, 0.5, 2.0, bottom)
    else:
        trapezoid(0.52, 0.98, 0.54, 1.84, top)
        trapezoid(0.54, 1.72, 0.54, 1.88, mix(top, INK, 0.2))
        trapezoid(0.3, 0.88, 0.3, 1.06, mix(top, INK, 0.2))


def _head(cv: Canvas, c: Character, behind: bool) -> None:
    skin = SKIN[c.skin]
    for side in (-1, 1):
        cv.shape(ellipse(side * 0.91, 0.12, 0.13, 0.17), skin)
    cv.shape(ellipse(0, 0, 0.93, 0.88), skin)
    if behind:
        return
    iris = EYES[c.eyes]
    for side in (-1, 1):
        x = side * 0.38
        cv.shape(ellipse(x, 0.2, 0.21, 0.28), WHITE, outlined=False)
        cv.shape(ellipse(x, 0.21, 0.19, 0.26), mix(iris, INK, 0.5), outlined=False)
        cv.shape(ellipse(x, 0.26, 0.16, 0.2), iris, outlined=False)
        cv.shape(ellipse(x - 0.06, 0.1, 0.07, 0.08), WHITE, outlined=False)
        cv.stroke([(x - 0.23, 0.03), (x, -0.07), (x + 0.23, 0.03)], INK, 0.08)
        cv.shape(ellipse(x + side * 0.14, 0.5, 0.14, 0.07), mix(skin, (250, 110, 120), 0.4), outlined=False)
    if c.mouth == "smile":
        cv.stroke([(-0.17, 0.52), (-0.06, 0.6), (0.06, 0.6), (0.17, 0.52)], (150, 50, 50), 0.06)
    elif c.mouth == "open mouth":
        cv.shape(ellipse(0, 0.58, 0.15, 0.14), (190, 50, 60), outlined=False)
    else:
        cv.stroke([(-0.16, 0.64), (-0.05, 0.56), (0.05, 0.56), (0.16, 0.64)], (150, 50, 50), 0.06)


def _front_hair(cv: Canvas, c: Character) -> None:
    hair = HAIR[c.hair]
    crown = ellipse(0, -0.04, 1.0, 0.95, 180, 360, 15)
    fringe = [
        (0.95, 0.12),
        (0.8, -0.22),
        (0.62, 0.0),
        (0.42, -0.28),
        (0.2, 0.0),
        (-0.05, -0.28),
        (-0.25, -0.02),
        (-0.45, -0.28),
        (-0.64, 0.0),
        (-0.8, -0.22),
        (-0.95, 0.12),
    ]
    cv.shape(crown + fringe, hair)
    if c.hairstyle in ("long hair", "bob cut"):
        for side in (-1, 1):
            cv.shape(smooth(mirrored([(0.98, -0.3), (1.08, 0.4), (0.97, 1.0), (0.78, 0.6), (0.8, -0.1)], side)), hair)
    cv.stroke([(-0.5, -0.6), (-0.2, -0.72), (0.15, -0.72)], mix(hair, WHITE, 0.5), 0.1)


def _hair_from_behind(cv: Canvas, c: Character) -> None:
    hair = HAIR[c.hair]
    if c.hairstyle in ("long hair", "bob cut"):
        bottom = 2.0 if c.hairstyle == "long hair" else 1.02
        cv.shape(
            smooth(
                [
                    (-0.9, -0.5),
                    (-1.08, 0.4),
                    (-1.02, bottom - 0.1),
                    (-0.4, bottom),
                    (0.4, bottom),
                    (1.02, bottom - 0.1),
                    (1.08, 0.4),
                    (0.9, -0.5),
                    (0, -1.0),
                ]
            ),
            hair,
        )
        return
    if c.hairstyle == "spiky hair":
        _spikes(cv, hair)
    elif c.hairstyle == "twintails":
        _twintails(cv, c)
    cv.shape(ellipse(0, -0.02, 1.0, 0.94), hair)


def _hat(cv: Canvas, c: Character, behind: bool) -> None:
    color = CLOTH[c.hat_color]
    if c.hat == "cat ears":
        for side in (-1, 1):
            cv.shape(mirrored([(0.2, -0.86), (0.82, -1.55), (0.98, -0.5)], side), HAIR[c.hair])
            cv.shape(mirrored([(0.44, -0.92), (0.77, -1.3), (0.84, -0.7)], side), (250, 170, 180), outlined=False)
    elif c.hat == "crown":
        cv.shape(
            [(-0.56, -0.74), (-0.66, -1.42), (-0.3, -1.1), (0, -1.5), (0.3, -1.1), (0.66, -1.42), (0.56, -0.74)],
            (250, 200, 40),
        )
        cv.shape(ellipse(0, -0.94, 0.11, 0.11), (220, 40, 50), outlined=False)
    elif c.hat == "hair bow":
        x, y = 0.45, -0.92
        for side in (-1, 1):
            cv.shape([(x, y), (x + side * 0.58, y - 0.36), (x + side * 0.55, y + 0.34)], color)
        cv.shape(ellipse(x, y, 0.15, 0.16), mix(color, INK, 0.2))
    elif c.hat == "baseball cap":
        cv.shape(ellipse(0, -0.3, 1.04, 0.95, 180, 360, 15), color)
        if not behind:
            cv.shape(ellipse(-0.12, -0.32, 0.82, 0.17), mix(color, INK, 0.25))
        cv.shape(ellipse(0, -1.24, 0.09, 0.07), mix(color, INK, 0.3), outlined=False)
    elif c.hat == "witch hat":
        cv.shape(smooth([(-0.66, -0.56), (-0.36, -1.2), (0.3, -1.78), (0.3, -1.26), (0.66, -0.56)]), color)
        cv.shape([(-0.66, -0.82), (0.66, -0.82), (0.7, -0.62), (-0.7, -0.62)], mix(color, (255, 220, 80), 0.75), False)
        cv.shape(ellipse(0, -0.54, 1.36, 0.23), color)
