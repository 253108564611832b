"""What is wrong with a dataset, file by file."""

from __future__ import annotations

import stat
from dataclasses import dataclass
from pathlib import Path

from lib_lora.errors import UserError


class BadFile(UserError):
    """A file of the dataset that cannot be used; ``what``, ``where`` and ``fix`` as in `UserError`."""


@dataclass(frozen=True)
class Problem:
    """Something found in the dataset: where, why, the remedy, and whether the file is left out because of it."""

    path: Path
    reason: str
    fix: str
    skipped: bool = True

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}{' (skipped)' if self.skipped else ''}. {self.fix}."

    @classmethod
    def of(cls, path: Path, error: BadFile) -> Problem:
        """The image at ``path`` is left out because of ``error``."""
        return cls(path, error.what, error.fix or "Replace or delete it")


def check_ends(path: Path) -> None:
    """Refuse what may never end when it is read; what is not there is left to whoever opens it.

    Raises:
        BadFile: a pipe, a socket or a device.
    """
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise BadFile("this is no file but a pipe or a device", where=path, fix="Take it out of the folder")
