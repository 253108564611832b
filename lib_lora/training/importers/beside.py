"""The files that kohya's or diffusion-pipe's config names, where they lie beside it: data set and sample prompts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path, PureWindowsPath

from lib_lora.errors import UserError
from lib_lora.training.importers import diffusion_pipe, kohya_toml
from lib_lora.training.importers.document import read_document, text_of
from lib_lora.training.importers.report import IGNORED, TRANSLATED, Imported, Line
from lib_lora.training.importers.values import Unreadable, text

DATASETS = {"dataset_config": kohya_toml, "dataset": diffusion_pipe}
PROMPTS = "sample_prompts"


def with_files_beside(found: Imported, path: Path) -> Imported:
    """``found``, with what these files say; files elsewhere stay unread, for anybody may have written the config.

    A file that cannot be used changes nothing; its line in the report says why.
    """
    for line in found.lines:
        if line.key in (*DATASETS, PROMPTS) and line.outcome == IGNORED and isinstance(line.value, str):
            file = path.parent / PureWindowsPath(line.value).name
            if file.name and file != path and file.is_file():
                found = _with(found, line, file)
    return found


def _with(found: Imported, line: Line, file: Path) -> Imported:
    try:
        if line.key == PROMPTS:
            if file.suffix.lower() != ".txt":
                return found
            more = Imported({"sample_prompts": text(text_of(file))}, ())
        else:
            document = read_document(file).content
            format = DATASETS[line.key]
            more = format.dataset(document) if format.is_dataset(document) else Imported({}, ())
    except (UserError, Unreadable) as error:
        return _saying(found, line, replace(line, text=str(error)))
    if not more.values:
        return _saying(found, line, replace(line, text="It names no images in the way of that trainer"))
    used = replace(line, outcome=TRANSLATED, text=f"Read from {file.name} beside it")
    return _saying(found, line, used).and_then(more)


def _saying(found: Imported, old: Line, new: Line) -> Imported:
    return replace(found, lines=tuple(new if line is old else line for line in found.lines))
