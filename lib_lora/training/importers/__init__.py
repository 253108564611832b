"""Configs of other trainers become ours, with a report of every key; one format a file."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from lib_lora.errors import UserError
from lib_lora.training.importers import kohya_gui, kohya_toml, lets
from lib_lora.training.importers.report import Imported

if sys.version_info >= (3, 11):
    import tomllib
else:
    from pip._vendor import tomli as tomllib

FORMATS = {  # the first that claims a document reads it
    "kohya_ss GUI": kohya_gui,
    "LoRA Easy Training Scripts": lets,
    "kohya": kohya_toml,
}


def import_config(path: str | Path) -> Imported:
    """Read a TOML or JSON config of kohya's trainer, kohya_ss, LoRA Easy Training Scripts or a notebook.

    A dataset file can be imported after the config that belongs to it: it changes the settings about data only.

    Raises:
        UserError: no such file, or neither TOML nor JSON.
    """
    document = _parsed(Path(path))
    return FORMATS[format_of(document)].read(document)


def format_of(document: dict[str, Any]) -> str:
    """The name of the format of a parsed file."""
    return next(name for name, module in FORMATS.items() if module.matches(document))


def _parsed(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8-sig")
        document = json.loads(text) if text.lstrip().startswith("{") else tomllib.loads(text)
    except FileNotFoundError as error:
        raise UserError("There is no such config", where=path) from error
    except ValueError as error:  # both parsers' errors, and UnicodeDecodeError, are of this kind
        what = f"This is neither a TOML nor a JSON config ({error})"
        raise UserError(what, where=path, fix="Choose the config file of a trainer") from error
    if not isinstance(document, dict):
        raise UserError("This JSON file is no config", where=path, fix="Choose the config file of a trainer")
    return document
