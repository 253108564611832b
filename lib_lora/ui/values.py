"""What people type into one-line fields: lists of weights, epochs and seeds, with ranges."""

from __future__ import annotations

import math
import re

from lib_lora.bounds import SEED, check_number, check_text
from lib_lora.errors import UserError

NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)"
RANGE = re.compile(rf"({NUMBER})\s*(?:…|\.\.\.?|-|to)\s*({NUMBER})(?:\s*(?:step|:)\s*({NUMBER}))?")
MOST = 200


def numbers(text: str, *, where: str, step: float = 0.1) -> list[float]:
    """``"0.6, 0.8"``, ``"0.6…1.0 step 0.2"``, ``"0.6-1.0:0.2"`` and mixtures, in the order given, without repeats.

    Args:
        where: name of the field, for the message.
        step: of a range that names none.

    Raises:
        UserError: quoting the part that cannot be read.
    """
    found: list[float] = []
    check_text(text, where)
    for part in filter(None, (part.strip() for part in re.split(r"[,;\n]", _with_points(text, where)))):
        found += _part(part, where, step)
        if len(found) > MOST:
            raise UserError(f"More than {MOST} values", where=where, fix="Use a larger step")
    if not found:
        raise UserError("At least one number is needed", where=where, fix="For example 0.6, 0.8, 1.0")
    return list(dict.fromkeys(found))


def _with_points(text: str, where: str) -> str:
    """``text`` with decimal points where it has decimal commas.

    ``0,8; 1`` and ``0,6, 0,8`` can only mean that. A lone ``0,8`` may be a list too.

    Raises:
        UserError: it may be both.
    """
    commas = re.findall(r"(?<![\d.,])0,\d+(?![\d.]*,\d)", text)
    if not commas or "." in text:
        return text
    if ";" in text or re.search(r",\s", text):
        return re.sub(r"(?<=\d),(?=\d)", ".", text)
    fix = f"Write {commas[0].replace(',', '.')} for one number, or {commas[0].replace(',', ', ')} for two"
    raise UserError(f"{text.strip()!r} can be read in two ways", where=where, fix=fix)


def whole_numbers(text: str, *, where: str) -> list[int]:
    """As :func:`numbers`, for epochs and seeds; a range without a step counts by 1."""
    values = numbers(text, where=where, step=1)
    for value in values:
        check_number(value, where, *SEED)
    if odd := [v for v in values if v != int(v) or v < 0]:
        raise UserError(f"{odd[0]:g} is not a whole number", where=where, fix="For example 1, 2, 4 or 2-6")
    return [int(v) for v in values]


def lines(text: str, *, where: str) -> list[str]:
    """Non-empty lines.

    Raises:
        UserError: there is none.
    """
    found = [line.strip() for line in (text or "").splitlines() if line.strip()]
    if not found:
        raise UserError("At least one line is needed", where=where, fix="Write one prompt a line")
    return found


def show(values: list[float] | list[int]) -> str:
    """Numbers as text that :func:`numbers` reads back."""
    return ", ".join(f"{v:g}" if isinstance(v, float) else str(v) for v in values)


def _part(part: str, where: str, step: float) -> list[float]:
    if re.fullmatch(NUMBER, part):
        return [float(part)]
    match = RANGE.fullmatch(part)
    if match is None:
        raise UserError(
            f"{part!r} is neither a number nor a range", where=where, fix="For example 0.6, 0.8 or 0.6-1.0:0.2"
        )
    first, last, stride = float(match[1]), float(match[2]), abs(float(match[3] or step))
    if stride == 0:
        raise UserError("A range cannot have a step of 0", where=where, fix="For example 0.6-1.0:0.2")
    count = math.floor(abs(last - first) / stride + 1e-9) + 1
    if count > MOST:
        raise UserError(f"{part!r} would be {count} values", where=where, fix="Use a larger step")
    stride = math.copysign(stride, last - first)
    return [round(first + i * stride, 6) for i in range(count)]
