"""Errors that are meant for the person in front of the screen."""

from __future__ import annotations

from pathlib import Path


class UserError(Exception):
    """Something the user can mend: says what is wrong, where, and how to fix it.

    Args:
        what: one plain sentence, e.g. ``"The LoRA file is cut off"``.
        where: the file, folder or setting concerned.
        fix: what to do about it.
    """

    def __init__(self, what: str, *, where: str | Path | None = None, fix: str | None = None):
        self.what = what
        self.where = None if where is None else str(where)
        self.fix = fix
        parts = [what if self.where is None else f"{what}: {self.where}", fix]
        super().__init__(" — ".join(p for p in parts if p))


class Cancelled(Exception):
    """Raised inside a job when the user cancelled it; never shown as a failure."""
