"""Which set was opened last, kept over a restart: the page offers it again, and the strip above the tabs goes on.

It is not opened by itself. Reading every picture would make a page wait that only wanted to look at a run, and to join
a set that another process has open is for a person to choose.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from lib_lora import small_files
from lib_lora.errors import UserError
from lib_lora.places import Places


def note(places: Places, folders: Sequence[Path]) -> None:
    """Remember folders that were opened together; where the disk refuses, nothing is remembered."""
    with suppress(OSError, UserError):
        small_files.set_aside(places.last_set, _folders)
        small_files.write_json(places.last_set, {"folders": [str(folder.absolute()) for folder in folders]})


def last_set(places: Places) -> tuple[Path, ...]:
    """The folders that were opened last, by whatever page or process; empty where one of them is gone."""
    folders = small_files.tolerated(places.last_set, _folders, ())
    with suppress(OSError):
        return folders if all(folder.is_dir() for folder in folders) else ()
    return ()


def _folders(content: Any) -> tuple[Path, ...]:
    found = small_files.listed(small_files.mapping(content)["folders"], small_files.path)
    return tuple(Path(folder) for folder in found)
