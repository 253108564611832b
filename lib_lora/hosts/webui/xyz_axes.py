"""Our axes in the web UI's own X/Y/Z plot: epoch, weight and block weights of the prompt's LoRAs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from modules import scripts

from lib_lora.adapters.blocks import load_presets
from lib_lora.adapters.file import read_metadata
from lib_lora.errors import UserError
from lib_lora.hosts.webui.folders import lora_folders
from lib_lora.lora_files import find_lora, list_loras
from lib_lora.names import base_of, epochs_of, steps_of
from lib_lora.tools.prompt_edits import LAST, with_blocks, with_epoch, with_weight

PREFIX = "[LoRA Workbench]"
PACKAGE = "lib_xyz"


def add_axes(presets: Path) -> None:
    """Add them, where the plot is installed and lacks them; to be called before the UI is built.

    Args:
        presets: the user's file of block presets, offered with the built-in ones.
    """
    for axis, options in _plots():
        known = {option.label for option in options}
        options += [option for option in _axes(axis, presets) if option.label not in known]


def _plots() -> Iterator[tuple[Callable[..., Any], list[Any]]]:
    """The plot's class of an axis and its list of them: in its script, in Forge-Classic and some Neos in a package."""
    modules = [getattr(data, "module", None) for data in scripts.scripts_data]
    places = [(module, "AxisOption", module, "axis_options") for module in modules]
    package = (sys.modules.get(f"{PACKAGE}.{name}") for name in ("classes", "builtins"))
    places.append((next(package), "AxisOption", next(package), "builtin_options"))
    for holder, axis, shelf, options in places:
        if hasattr(holder, axis) and hasattr(shelf, options):
            yield getattr(holder, axis), getattr(shelf, options)


def _axes(axis: Callable[..., Any], presets: Path) -> list[Any]:
    return [
        axis(f"{PREFIX} Epoch", str, _varying(lambda p, x: with_epoch(p, x, _names(), _last_epoch)), choices=_epochs),
        axis(f"{PREFIX} Weight", float, _varying(with_weight)),
        axis(
            f"{PREFIX} Block weights",
            str,
            _varying(lambda p, x: with_blocks(p, x, load_presets(presets))),
            choices=lambda: list(load_presets(presets)),
        ),
    ]


def _varying(change: Callable[[str, Any], str]) -> Callable[[Any, Any, Sequence[Any]], None]:
    def apply(p: Any, x: Any, _xs: Sequence[Any]) -> None:
        p.prompt = change(p.prompt, x)

    return apply


def _names() -> list[str]:
    return list(list_loras(lora_folders()))


def _last_epoch(name: str) -> int | None:
    """The epoch that a run's last file says it is."""
    try:
        return int(read_metadata(find_lora(name, lora_folders())).get("ss_epoch", ""))
    except (UserError, ValueError):
        return None


def _epochs() -> list[str]:
    """Every epoch and every step that some LoRA has a file of."""
    names = _names()
    bases = {base_of(name, names) for name in names}
    found = {epoch for base in bases for epoch in epochs_of(base, names)}
    steps = {step for base in bases for step in steps_of(base, names)}
    return [*map(str, sorted(found)), *(f"s{step}" for step in sorted(steps)), LAST]
