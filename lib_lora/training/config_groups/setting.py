"""One setting: a dataclass field that carries what a form needs to show it and to check it."""

from __future__ import annotations

import re
from dataclasses import MISSING, Field, field
from typing import Any, TypeVar

from lib_lora.bounds import as_float, check_kind, check_text, shown
from lib_lora.errors import UserError
from lib_lora.training.config_groups.only import Only

RUN, NETWORK, OPTIMIZER, SCHEDULE, CAPTIONS, IMAGES, NOISE, LOSS, SLIDER, SAVING, MEMORY = GROUPS = (
    "Run", "Network", "Optimizer", "Learning rate schedule", "Captions", "Images and buckets", "Noise and timesteps",
    "Loss", "Slider", "Saving and samples", "Precision and memory",
)  # fmt: skip

T = TypeVar("T")


def setting(
    default: T,
    group: str,
    label: str,
    help: str,
    *,
    low: float | None = None,
    high: float | None = None,
    unit: str = "",
    choices: tuple[str, ...] = (),
    others: re.Pattern[str] | None = None,
    kohya: str = "",
    only: Only | None = None,
    no_flow: str = "",
) -> T:
    """A dataclass field with all that is known of a setting.

    Args:
        others: form of further values beside the choices; None: there are none.
        kohya: its name there; empty: kohya has none.
        only: when it has an effect; None is always.
        no_flow: why it has no meaning for a rectified flow; empty: it has one.
    """
    metadata = {"group": group, "label": label, "help": help, "low": low, "high": high, "unit": unit}
    chosen = {"choices": choices, "others": others, "kohya": kohya, "only": only, "no_flow": no_flow}
    return field(default=default, metadata={**metadata, **chosen})


def default_of(f: Field[Any]) -> Any:
    """The default value of a setting."""
    if f.default is MISSING:
        raise ValueError(f"setting {f.name} has no default")
    return f.default


def is_other(f: Field[Any], value: str) -> bool:
    """Whether ``value`` is none of the choices, but of the form that the setting takes besides."""
    others: re.Pattern[str] | None = f.metadata["others"]
    return value not in f.metadata["choices"] and others is not None and others.fullmatch(value) is not None


def check_value(f: Field[Any], value: Any) -> None:
    """Raise :class:`UserError` naming the setting if ``value`` has the wrong type, is no choice or is out of range."""
    meta = f.metadata
    kind = type(default_of(f))
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = as_float(value, f.name)
    check_kind(value, kind, f.name, meta["label"])
    if isinstance(value, str):
        check_text(value, f.name)
    if meta["choices"] and value not in meta["choices"] and not is_other(f, value):
        known = ", ".join(meta["choices"])
        raise UserError(f"{meta['label']} does not know {shown(value)}", where=f.name, fix=f"Use {known}")
    low, high = meta["low"], meta["high"]
    if low is not None and not low <= value <= high:  # also refuses NaN
        fix = f"Use {low:g} to {high:g} {meta['unit']}".rstrip()
        raise UserError(f"{meta['label']} cannot be {shown(value)}", where=f.name, fix=fix)
