"""A report of an unexpected error that can be passed on: what it was, in what, and nothing of the user's folders."""

from __future__ import annotations

import platform
import re
import traceback
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version

from lib_lora import __version__

PACKAGES = ("torch", "gradio", "transformers", "diffusers", "safetensors", "numpy", "pydantic", "accelerate")
# what may follow these folders in a path is program, and not the user's
PROGRAM = ("site-packages", "lib_lora", "extensions-builtin", "modules", "modules_forge", "backend", "ldm_patched")
_SEGMENT = r"[^\\/\"'<>|:*?\r\n]+"
_PATH = re.compile(rf"(?:[A-Za-z]:|\\\\{_SEGMENT}|~|(?<![\w.<])(?=/))(?:[\\/]+{_SEGMENT})+[\\/]?")
_NO_SPACE = re.compile(r"\s")


def report(error: BaseException, about: Mapping[str, str]) -> str:
    """The whole traceback of ``error``, after the versions of what took part and ``about``, a line each.

    Paths are cut: of a program's file the part that belongs to it remains, of others only the ending.
    """
    lines = [f"LoRA Workbench {__version__}, Python {platform.python_version()}, {platform.system()}"]
    lines.append(", ".join(f"{name} {found}" for name in PACKAGES if (found := _version(name))))
    lines += [f"{key}: {value}" for key, value in about.items() if value]
    trace = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    return without_paths("\n".join([*lines, "", trace.rstrip()]))


def without_paths(text: str) -> str:
    """``text`` without the names of folders outside of programs."""
    return "\n".join(_PATH.sub(lambda match: _cut(match[0]), line) for line in text.split("\n"))


def _cut(path: str) -> str:
    parts = re.split(r"[\\/]+", path)
    places = [index for index, part in enumerate(parts) if part in PROGRAM]
    if places:
        return "/".join(parts[places[0] :])
    name, dot, ending = parts[-1].rpartition(".")
    rest = ""
    if space := _NO_SPACE.search(ending):
        ending, rest = ending[: space.start()], ending[space.start() :]
    return f"…/….{ending}{rest}" if name and dot else "…"


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
