"""LoRA tags of a prompt whose weight follows the sampling steps or differs from block to block.

The notation is that of sd-webui-loractl and LoRA Block Weight::

    <lora:mira:0.8@0,0.5@0.3,0@1>            weights at positions, straight lines between them
    <lora:mira:0.8:lbw=OUTS>                 block weights: a preset's name, or numbers
    <lora:mira:0.8:start=0.2:stop=10>        nothing before a fifth of the steps, nothing from step 10 on
    <lora:mira:te=0.5:unet=1@0,0@1>          text encoder and U-Net apart
    <lora:mira:1:OUTS>, <lora:mira:1:1,0,…>  block weights without their name
    <lora:mira:1:step=5-15>                  the same as start=5:stop=15
    <lora:mira:1:lbw=1,X,…:x=0.5>            the same weight for each X; R and U are random ones
    <lora:mira:1:ROUT:0.7>                   the same: a preset's X
    <lora:mira:1:lbw=ALL:lbwe=ATTNDEEPOFF>   elements by a name: one of Block Weight's, or of a preset
    <lora:mira:1:OUTS:ATTNDEEPOFF>           the same without their names
    <lora:mira:0.5:hr=1>                     another weight in the hires pass; hrte and hrunet, apart
    <lyco:mira:…>, <loractl:mira:…>          other names of the same

Positions up to 1 are shares of the steps; a list with one above 1 counts steps from 0. ``start`` and ``stop`` are
shares when written with a decimal point, else steps. The text is encoded once, with the weight of the first step.

A tag in any other notation, such as Forge Neo's ``<lora:mira:[1@0,0@1]>``, belongs to the web UI or an extension of its
own, and stays in the prompt.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass

from lib_lora.errors import UserError

TAG = re.compile(r"<(?:lora|lyco|loractl):([^<>:]+)((?::[^<>:]*)*)>")
_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_PLAIN = re.compile(rf"(?:(?:te|unet|dyn)=)?(?:{_NUMBER})?")
_CURVE = re.compile(  # all else is blocks
    rf"{_NUMBER}|[^,;@~A-Za-z]*|nan|inf|(?=.*[@~]).*|[^,;A-Za-z]*(?:[,;][^,;A-Za-z]*){{1,5}}"
)
NAMED = ("te", "unet", "lbw", "w", "start", "stop", "step", "x", "lbwe", "hr", "hrte", "hrunet")
OTHERS = "["  # a weight in brackets is a notation that is not ours
SCHEDULE, BLOCKS, BOUNDS, HIRES = "schedule", "blocks", "bounds", "hires"


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
        """Whether ``step`` of ``steps`` lies at or behind it."""
        return (step if self.in_steps else _share(step, steps)) >= self.place


@dataclass(frozen=True)
class PromptLora:
    """One tag.

    Attributes:
        blocks: as :func:`lib_lora.tools.prompt_networks.block_weights` reads it; None: all alike.
        elements: name of weights of kinds of layers, which go over those of the blocks; None: there are none.
        hires, hires_te: of the hires pass; None: as in the first.
        x: what each X in the block weights stands for.
        needs: what a reader of the tag has to know, of ``SCHEDULE`` (weights at positions, bounds as shares),
            ``BLOCKS``, ``BOUNDS`` (start and stop) and ``HIRES``.
    """

    name: str
    te: Curve
    unet: Curve
    blocks: str | None = None
    elements: str | None = None
    start: Bound | None = None
    stop: Bound | None = None
    hires: Curve | None = None
    hires_te: Curve | None = None
    x: float = 1.0
    needs: frozenset[str] = frozenset()

    def unet_weight(self, step: int, steps: int, hires: bool = False) -> float:
        """What the U-Net's part weighs in a step of the first pass, or of the hires pass."""
        if (self.start and not self.start.reached(step, steps)) or (self.stop and self.stop.reached(step, steps)):
            return 0.0
        return (self.hires if hires and self.hires else self.unet).at(step, steps)

    def te_weight(self) -> float:
        """What the text encoder's part weighs."""
        return self.te.at(0, 1)


def split_prompt(prompt: str, ours: Callable[[PromptLora], bool] = lambda _tag: True) -> tuple[str, list[PromptLora]]:
    """The prompt without the tags that need us, and these.

    Plain tags stay, they are the web UI's, and so do those that cannot be read and those that are not ``ours``.
    """
    found: list[PromptLora] = []

    def take(match: re.Match[str]) -> str:
        try:
            tag = _read(match)
        except UserError:
            return match[0]
        if tag is None or not ours(tag):
            return match[0]
        found.append(tag)
        return ""

    rest = TAG.sub(take, prompt)
    return rest, found


def all_tags(prompt: str) -> tuple[str, list[PromptLora]]:
    """The prompt without any tag, and all of them, plain ones too; for where no web UI reads them.

    Raises:
        UserError: quoting a tag that cannot be read.
    """
    found = [
        _parsed(match[0], match[1].strip(), [p for p in map(str.strip, match[2].split(":")[1:]) if not _is_dyn(p)])
        for match in TAG.finditer(prompt)
    ]
    return TAG.sub("", prompt), found


def unread_tags(prompt: str) -> list[UserError]:
    """The tags that look like ours and cannot be read, each with the reason and an example."""
    problems = []
    for match in TAG.finditer(prompt):
        try:
            _read(match)
        except UserError as error:
            problems.append(error)
    return problems


def curve(text: str) -> Curve:
    """``"0.8"`` or ``"0.8@0,0.5@0.3,0@1"``; also with ``;`` and ``~``, and without the position of a last one, 1.

    Two weights at one position are a jump.

    Raises:
        ValueError: it is neither.
    """
    parts = [re.split("[@~]", part) for part in re.split("[,;]", text)]
    if len(parts) > 1 and len(parts[0]) == 1:
        raise ValueError(f"{parts[0][0]!r} has no position")
    if max(map(len, parts)) > 2:
        raise ValueError(f"{text!r} has two positions for one weight")
    last = 0.0 if len(parts) == 1 else 1.0  # of a weight without a position
    points = [(_float(part[1]) if len(part) == 2 else last, _float(part[0])) for part in parts]
    places = [place for place, _ in points]
    if not all(math.isfinite(x) for point in points for x in point) or min(places) < 0:
        raise ValueError("not a finite number")
    return Curve(tuple(sorted(points, key=lambda point: point[0])), in_steps=max(places) > 1)


def _read(match: re.Match[str]) -> PromptLora | None:
    """The tag, None for one that is none of our business.

    Raises:
        UserError: it cannot be read.
    """
    parts = [part.strip() for part in match[2].split(":")[1:]]
    plain = all(_PLAIN.fullmatch(part) for part in parts)
    if plain or any(part.partition("=")[2].startswith(OTHERS) or part.startswith(OTHERS) for part in parts):
        return None
    return _parsed(match[0], match[1].strip(), parts)


def _parsed(tag: str, name: str, parts: list[str]) -> PromptLora:
    values: dict[str, str] = {}
    free = iter(("te", "unet", "dyn"))
    for part in parts:
        key, equals, value = (text.strip() for text in part.partition("="))
        if equals and key in NAMED:
            values[key] = value
        elif not equals and not _CURVE.fullmatch(part):  # a preset's name, or its numbers
            values.setdefault("lbwe" if values.get("lbw") else "lbw", part)
            free = iter(("x",))  # a number behind them is their X
        elif (place := next(free, None)) and not equals:
            values.setdefault(place, part)
        else:
            raise _unreadable(tag, part)
    try:
        _expand(values)
        te = curve(values.get("te") or values.get("unet") or "1")
        unet = curve(values.get("unet") or values.get("te") or "1")
        hires, hires_te = (curve(text) if text else None for text in map(values.get, ("hrunet", "hrte")))
        x = curve(values.get("x") or "1").at(0, 1)
        start, stop = (_bound(values[key]) if key in values else None for key in ("start", "stop"))
    except ValueError as error:
        raise _unreadable(tag, str(error)) from None
    bounds = [bound for bound in (start, stop) if bound]
    shares = any(not bound.in_steps for bound in bounds)  # Block Weight reads whole steps, and gives up at a point
    scheduled = shares or any("@" in values.get(key, "") for key in ("te", "unet", "hrte", "hrunet"))
    there = {SCHEDULE: scheduled, BLOCKS: values.keys() & {"lbw", "lbwe"}, BOUNDS: bounds, HIRES: hires or hires_te}
    needs = frozenset(need for need, is_there in there.items() if is_there)
    blocks, elements = (values.get(key) or None for key in ("lbw", "lbwe"))
    return PromptLora(name, te, unet, blocks, elements, start, stop, hires, hires_te, x, needs)


def _expand(values: dict[str, str]) -> None:
    """Short forms in the long ones: ``step=5-15``, ``w=``, ``hr=`` for both parts."""
    if span := values.pop("step", ""):
        first, _, last = span.partition("-")
        values |= {"start": first, **({"stop": last} if last else {})}
    if weights := values.pop("w", ""):
        values.setdefault("lbw", weights)
    if both := values.pop("hr", ""):
        values.setdefault("hrte", both)
        values.setdefault("hrunet", both)


def _is_dyn(part: str) -> bool:
    """An entry for DyLoRA's rank, which is the file's."""
    return part.partition("=")[0] == "dyn"


def _float(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{text!r} is no number") from None


def _bound(text: str) -> Bound:
    place = _float(text)
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
