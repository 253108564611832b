"""One setting: a dataclass field that carries what a form needs to show it and to check it."""

from __future__ import annotations

from dataclasses import MISSING, Field, field
from typing import Any, TypeVar

from lib_lora.bounds import as_float, check_text, shown
from lib_lora.errors import UserError
from lib_lora.training.config_groups.only import Only

RUN, NETWORK, OPTIMIZER, SCHEDULE, CAPTIONS, IMAGES, NOISE, LOSS, SAVING, MEMORY = GROUPS = (
    "Run", "Network", "Optimizer", "Learning rate schedule", "Captions", "Images and buckets", "Noise and timesteps",
    "Loss", "Saving and samples", "Precision and memory",
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
    kohya: str = "",
    only: Only | None = None,
    no_flow: str = "",
) -> T:
    """A dataclass field with all that is known of a setting.

    Args:
        kohya: its name there; empty: kohya has none.
        only: when it has an effect; None is always.
        no_flow: why it has no meaning for a rectified flow; empty: it has one.
    """
    metadata = {"group": group, "label": label, "help": help, "low": low, "high": high, "unit": unit}
    return field(
        default=default, metadata={**metadata, "choices": choices, "kohya": kohya, "only": only, "no_flow": no_flow}
    )


def default_of(f: Field[Any]) -> Any:
    """The default value of a setting."""
    if f.default is MISSING:
        raise ValueError(f"setting {f.name} has no default")
    return f.default


def check_value(f: Field[Any], value: Any) -> None:
    """Raise :class:`UserError` naming the setting if ``value`` has the wrong type, is no choice or is out of range."""
    meta = f.metadata
    kind = type(default_of(f))
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = as_float(value, f.name)
    if type(value) is not kind:
        raise UserError(f"{meta['label']} must be a {kind.__name__}, not {shown(value)}", where=f.name)
    if isinstance(value, str):
        check_text(value, f.name)
    if meta["choices"] and value not in meta["choices"]:
        known = ", ".join(meta["choices"])
        raise UserError(f"{meta['label']} does not know {shown(value)}", where=f.name, fix=f"Use {known}")
    low, high = meta["low"], meta["high"]
    if low is not None and not low <= value <= high:  # also refuses NaN
        fix = f"Use {low:g} to {high:g} {meta['unit']}".rstrip()
        raise UserError(f"{meta['label']} cannot be {shown(value)}", where=f.name, fix=fix)
