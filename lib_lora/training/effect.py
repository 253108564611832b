"""Which settings have no effect beside the others, and why."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

from lib_lora.training.config import settings


def without_effect(values: Mapping[str, Any], prediction: str = "") -> dict[str, str]:
    """Setting -> when it would have an effect, of those that have none.

    Args:
        values: setting -> value; they need not be usable.
        prediction: of the model: ``"epsilon"``, ``"v"``, ``"flow"``; empty where it is not known.
    """
    beside = SimpleNamespace(**values)
    found = {}
    for name in values:
        meta = settings()[name].metadata
        only = meta["only"]
        if meta["no_flow"] and prediction == "flow":
            found[name] = f"Not here: {meta['no_flow']}"
        elif only is not None and (not only.holds(beside) or (prediction and only.prediction not in ("", prediction))):
            found[name] = f"Only {only.words}"
    return found
