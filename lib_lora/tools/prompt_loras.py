"""LoRA tags of a prompt whose weight follows the sampling steps or differs from block to block.

The notation is that of sd-webui-loractl and LoRA Block Weight::

    <lora:mira:0.8@0,0.5@0.3,0@1>            weights at positions, straight lines between them
    <lora:mira:0.8:lbw=OUTS>                 block weights: a preset's name, or numbers
    <lora:mira:0.8:start=0.2:stop=10>        nothing before a fifth of the steps, nothing from step 10 on
    <lora:mira:te=0.5:unet=1@0,0@1>          text encoder and U-Net apart

Positions up to 1 are shares of the steps; a list with one above 1 counts steps from 0. ``start`` and ``stop`` are
shares when written with a decimal point, else steps. The text is encoded once, with the weight of the first step.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from dataclasses import dataclass

from lib_lora.errors import UserError

TAG = re.compile(r"<lora:([^<>:]+)((?::[^<>:]*)*)>")
_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)"
_PLAIN = re.compile(rf"(?:(?:te|unet|dyn)=)?{_NUMBER}?")
NAMED = ("te", "unet", "lbw", "start", "stop")


@dataclass(frozen=True)
class Curve:
    """A weight over the steps: straight lines between ``points`` (position, weight), level outside of them.

    ``in_steps``: positions count steps, else they are shares from 0 (first step) to 1 (last).
    """

    points: tuple[tuple[float, float], ...]
    in_steps: bool = False

    def at(self, step: int, steps: int) -> float:
        """The weight in step ``step`` (from 0) of ``steps``."""
        position = step if self.in_steps else _share(step, steps)
        places = [place for place, _ in self.points]
        after = bisect_right(places, position)
        if after == 0:
            return self.points[0][1]
        if after == len(places):
            return self.points[-1][1]
        (left, a), (right, b) = self.points[after - 1 : after + 1]
        return a + (b - a) * (position - left) / (right - left)


@dataclass(frozen=True)
class Bound:
    """A place in the steps: a share of them, or (``in_steps``) their number."""

    place: float
    in_steps: bool

    def reached(self, step: int, steps: int) -> bool:
        return (step if self.in_steps else _share(step, steps)) >= self.place


@dataclass(frozen=True)
class PromptLora:
    """One tag. ``blocks`` is as :func:`lib_lora.adapters.blocks.BlockWeights.parse` takes it; None: all alike."""

    name: str
    te: Curve
    unet: Curve
    blocks: str | None = None
    start: Bound | None = None
    stop: Bound | None = None

    def unet_weight(self, step: int, steps: int) -> float:
        """What the U-Net's part weighs in a step."""
        if (self.start and not self.start.reached(step, steps)) or (self.stop and self.stop.reached(step, steps)):
            return 0.0
        return self.unet.at(step, steps)

    def te_weight(self) -> float:
        """What the text encoder's part weighs."""
        return self.te.at(0, 1)


def split_prompt(prompt: str) -> tuple[str, list[PromptLora]]:
    """The prompt without the tags that need us, and these; plain tags stay, they are the web UI's.

    Raises:
        UserError: quoting the tag that cannot be read.
    """
    found: list[PromptLora] = []

    def take(match: re.Match[str]) -> str:
        parts = [part.strip() for part in match[2].split(":")[1:]]
        if all(_PLAIN.fullmatch(part) for part in parts):
            return match[0]
        found.append(_parsed(match[0], match[1].strip(), parts))
        return ""

    rest = TAG.sub(take, prompt)
    return rest, found


def curve(text: str) -> Curve:
    """``"0.8"`` or ``"0.8@0,0.5@0.3,0@1"``.

    Raises:
        ValueError: it is neither.
    """
    points = []
    for part in text.split(","):
        weight, at, place = part.partition("@")
        if not at and "," in text:
            raise ValueError(f"{part!r} has no position")
        points.append((float(place) if at else 0.0, float(weight)))
    places = [place for place, _ in points]
    if not all(math.isfinite(x) for point in points for x in point) or min(places) < 0:
        raise ValueError("not a finite number")
    if len(set(places)) < len(places):
        raise ValueError("a position is there twice")
    return Curve(tuple(sorted(points)), in_steps=max(places) > 1)


def _parsed(tag: str, name: str, parts: list[str]) -> PromptLora:
    values: dict[str, str] = {}
    free = iter(("te", "unet", "lbw"))
    for part in parts:
        key, equals, value = part.partition("=")
        if equals and key in NAMED:
            values[key] = value
        elif (place := next(free, None)) and not equals:
            values.setdefault(place, part)
        else:
            raise _unreadable(tag, part)
    try:
        te = curve(values.get("te") or values.get("unet") or "1")
        unet = curve(values.get("unet") or values.get("te") or "1")
        start, stop = (_bound(values[key]) if key in values else None for key in ("start", "stop"))
    except ValueError as error:
        raise _unreadable(tag, str(error)) from None
    return PromptLora(name, te, unet, values.get("lbw") or None, start, stop)


def _bound(text: str) -> Bound:
    place = float(text)
    if not 0 <= place < math.inf:
        raise ValueError(f"{text!r} is no step")
    return Bound(place, in_steps="." not in text)


def _share(step: int, steps: int) -> float:
    return step / (steps - 1) if steps > 1 else 0.0


def _unreadable(tag: str, why: str) -> UserError:
    return UserError(
        f"This LoRA tag cannot be read ({why})",
        where=tag,
        fix="Write for example <lora:mira:0.8@0,0@1> or <lora:mira:0.8:lbw=OUTS:start=0.2:stop=10>",
    )
