"""Configs of this and of other trainers become settings, with a report of every key; one format a file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from lib_lora.errors import UserError
from lib_lora.training.importers import (
    ai_toolkit,
    diffusion_pipe,
    kohya_gui,
    kohya_toml,
    lets,
    lets_json,
    onetrainer,
    own,
)
from lib_lora.training.importers.beside import with_files_beside
from lib_lora.training.importers.document import FIX, read_document
from lib_lora.training.importers.report import CANNOT_BE_READ, IGNORED, Imported, Line


class Format(Protocol):
    """What a module of a format has."""

    def matches(self, document: dict[str, Any]) -> bool:
        """Whether ``document`` is of this format."""

    def read(self, document: dict[str, Any]) -> Imported:
        """Its settings as ours, and what became of each line."""


OWN = "LoRA Workbench"
FORMATS: dict[str, Format] = {  # the first that claims a document reads it
    OWN: own,
    "kohya_ss GUI": kohya_gui,
    "LoRA Easy Training Scripts": lets,
    "LoRA Easy Training Scripts, first version": lets_json,
    "OneTrainer": onetrainer,
    "ai-toolkit": ai_toolkit,
    "diffusion-pipe": diffusion_pipe,
    "kohya": kohya_toml,
}


def import_config(path: str | Path) -> Imported:
    """Read a config of this program or of another trainer, see :data:`FORMATS`, or a script that starts kohya's.

    Settings are those of the file, and the trainer's defaults for what it does not say. A key whose value cannot be
    read is reported and changes nothing. A dataset file that lies beside kohya's or diffusion-pipe's config is read
    with it; one that is imported after it changes the settings about data only.

    Raises:
        UserError: no such file, neither TOML nor JSON nor YAML, or the config of no trainer that is known here.
    """
    path = Path(path)
    document = read_document(path)
    name = format_of(document.content)
    if name is None:
        fix = f"{FIX}: {', '.join(FORMATS)}"
        raise UserError("This is not the config of a trainer known here", where=path, fix=fix)
    found = FORMATS[name].read(document.content)
    if FORMATS[name] in (kohya_toml, diffusion_pipe):
        found = with_files_beside(found, path)
    said = f"{CANNOT_BE_READ}, it breaks the rules of such a file"
    bad = [Line(key, value, IGNORED, said) for key, value in document.bad_lines]
    return replace(found, lines=(*found.lines, *bad), format=name)


def format_of(document: dict[str, Any]) -> str | None:
    """The name of the format of a parsed file; None where it is none of them."""
    return next((name for name, module in FORMATS.items() if module.matches(document)), None)
