"""More of a grid by one click: another weight or seed is added to its field and drawn; what is there stays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lib_lora.errors import UserError
from lib_lora.ui import html
from lib_lora.ui.values import numbers, show, whole_numbers

FIELD = "lw_grid_more"  # the hidden field that a click is written into
STEP = 0.2  # of weights, where there is only one


def offers(grid: Mapping[str, Any]) -> str:
    """Buttons for the next weights above and below, and the next seed; empty before there is a grid."""
    if not grid.get("weights") or not grid.get("seeds"):
        return ""
    weights, seeds = sorted(grid["weights"]), grid["seeds"]
    new = [(f"weight {w:g}", f"weight:{w:g}") for w in (_next(weights, -1), _next(weights, 1)) if w is not None]
    new.append((f"seed {max(seeds) + 1}", f"seed:{max(seeds) + 1}"))
    buttons = "".join(html.pick_button(text, FIELD, value, said=f"Draw {text}") for text, value in new)
    return f'<div class="lw-grid-more"><span class="lw-quiet">Draw more of it:</span>{buttons}</div>'


def added(pick: str, weights: str, seeds: str) -> tuple[str, str]:
    """Both fields with what was clicked, ``"weight:0.4|time"`` or ``"seed:2|time"``.

    Raises:
        UserError: a field cannot be read.
    """
    kind, _, value = pick.rpartition("|")[0].partition(":")
    if kind == "weight":
        return show(sorted({*numbers(weights, where="Weights to compare"), float(value)})), seeds
    if kind == "seed":
        return weights, show(list(dict.fromkeys([*whole_numbers(seeds, where="Grid seeds"), int(value)])))
    raise UserError(f"Unknown addition {kind!r}", fix="Reload the page")


def _next(weights: Sequence[float], side: int) -> float | None:
    """The weight that goes on with the steps at the lower (-1) or upper (1) end; None below zero."""
    ends = weights[:2] if side < 0 else weights[-2:]
    step = round(ends[-1] - ends[0], 4) if len(ends) > 1 else STEP
    found = round((weights[0] if side < 0 else weights[-1]) + side * step, 4)
    return found if found >= 0 and found not in weights else None
