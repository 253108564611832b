"""Who is changing a set of pictures: one at a time, among threads and processes; only the dead are succeeded."""

from __future__ import annotations

import platform
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from lib_lora.errors import UserError
from lib_lora.ownership import Claim, Owner, Taken, alone, owner_of

NAME = "owner.json"
WAIT = 2.0  # seconds; most changes are captions that are typed
SILENT = 300.0  # seconds without a sign of life after which the owner on another machine counts as gone


class Busy(UserError):
    """Somebody else changes the set just now."""

    def __init__(self, owner: Owner | None, where: Path):
        title = owner.title if owner else "by another process"
        whose = "" if owner is None or owner.here else f", by process {owner.pid} on {owner.machine}"
        what = f"These pictures are just being changed ({title}{whose})"
        super().__init__(what, where=where, fix="Wait until that is done, or cancel it there; looking is possible")


@contextmanager
def changing(folder: Path, title: str, wait: float = WAIT) -> Iterator[Claim]:
    """Nobody else changes the set, whose journal lies in ``folder``, within this block.

    Raises:
        Busy: somebody does, and is not done within ``wait`` seconds.
    """
    with ExitStack() as stack:
        try:
            claim = stack.enter_context(alone(folder / NAME, wait, title, SILENT))
        except Taken as taken:
            raise Busy(taken.owner, folder) from None
        yield claim


def being_changed(folder: Path) -> Owner | None:
    """Who changes the set just now; None where nobody does, or where who did is gone."""
    owner = owner_of(folder / NAME)
    return owner if owner is not None and lives(owner, folder / NAME) else None


def lives(owner: Owner, file: Path) -> bool:
    """Whether the owner that ``file`` names may still be there; one on another machine while it touches the file."""
    try:
        return owner.alive and (owner.machine == platform.node() or time.time() - file.stat().st_mtime < SILENT)
    except OSError:
        return False
