"""A small sweep: the same run with one or several settings varied."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from lib_lora.errors import UserError
from lib_lora.training.config import TrainConfig, default_of, settings

MOST = 24
FIXED = ("name", "model")
TRUE, FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")


@dataclass(frozen=True)
class Variant:
    """One run of a sweep; ``label`` is what differs, e.g. ``"rank 8, unet_lr 0.0001"``."""

    label: str
    config: TrainConfig


def variants(config: TrainConfig, text: str) -> list[Variant]:
    """Every combination of the values in ``text``, each checked and with a name of its own.

    Args:
        text: a setting a line, ``rank = 4, 8, 16``; also by kohya's name or by label. Values that contain commas are
            separated by ``|``.

    Raises:
        UserError: naming the line, or the variant, that cannot work.
    """
    varied = dict(_lines(text))
    if not varied:
        raise UserError("Nothing is varied", where="Variants", fix="Write for example: rank = 4, 8, 16")
    combinations = list(product(*varied.values()))
    if len(combinations) > MOST:
        fix = "Vary fewer settings or values"
        raise UserError(f"These are {len(combinations)} runs, more than {MOST}", where="Variants", fix=fix)
    return [_variant(config, dict(zip(varied, values, strict=True))) for values in combinations]


def _variant(config: TrainConfig, changes: dict[str, Any]) -> Variant:
    label = ", ".join(f"{name} {_show(value)}" for name, value in changes.items())
    suffix = "-".join(f"{name}{_show(value)}" for name, value in changes.items())
    name = f"{config.name}-{re.sub(r'[^A-Za-z0-9_.-]+', '_', suffix).strip('._')}"
    return Variant(label, replace(config, **changes, name=name).check())


def _lines(text: str) -> Iterator[tuple[str, list[Any]]]:
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        key, equals, values = line.partition("=")
        where = f"Variants, line {number}"
        if not equals:
            raise UserError("There is no “=”", where=where, fix="Write for example: rank = 4, 8, 16")
        name = _setting(key.strip(), where)
        parts = [part.strip() for part in values.split("|" if "|" in values else ",")]
        yield name, list(dict.fromkeys(_value(name, part, where) for part in parts if part or len(parts) > 1))


def _setting(key: str, where: str) -> str:
    wanted = key.casefold()
    for name, f in settings().items():
        if wanted in (name, f.metadata["kohya"].casefold(), f.metadata["label"].casefold()) and name not in FIXED:
            return name
    raise UserError(f"No setting is called {key!r}", where=where, fix="Look it up with “Find a setting”")


def _value(name: str, text: str, where: str) -> Any:
    kind = type(default_of(settings()[name]))
    if kind is str:
        return text
    if kind is bool:
        if text.casefold() in (*TRUE, *FALSE):
            return text.casefold() in TRUE
        raise UserError(f"{name} cannot be {text!r}", where=where, fix="Use yes and no")
    try:
        return kind(text)
    except ValueError as error:
        raise UserError(
            f"{name} cannot be {text!r}", where=where, fix=f"Use numbers, as {default_of(settings()[name])}"
        ) from error


def _show(value: Any) -> str:
    return (
        f"{value:g}"
        if isinstance(value, float)
        else ("yes" if value else "no")
        if isinstance(value, bool)
        else str(value)
    )
