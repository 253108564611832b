"""Temporary files carry their process; those of the dead are swept."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import socket
import time
from collections.abc import Iterable
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from uuid import uuid4

from lib_lora.ownership import started

PART = re.compile(r"\.(?:(?P<machine>[0-9a-f]{8})-(?P<pid>\d+)-(?P<start>[0-9a-f]{8})-)?[0-9a-f]{12}\.part")
PLAN = ".set"  # ending of what says how the temporary files of a set are to be called, see `file_sets`
FOREIGN = 24 * 3600.0  # seconds without a change after which a file of another machine is left over


def part_name() -> str:
    """A new name for a temporary file of this process; hosts do not list it."""
    return f".{_digest(socket.gethostname())}-{os.getpid()}-{_own_start(os.getpid())}-{uuid4().hex[:12]}.part"


def sweep_parts(folders: Iterable[Path]) -> list[Path]:
    """Remove temporary files, and folders of them, in ``folders`` that no living process is writing; returns them.

    What another machine, or an earlier version of this program, wrote goes when nothing was added for a day. What a
    plan still waits for stays: a set that could not be finished now is finished at the next start.
    """
    gone = []
    for folder in folders:
        with suppress(OSError):
            planned = _planned(folder)
            for path in folder.glob(".*.part"):
                if path.name not in planned and is_left_over(path):
                    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
                    gone.append(path)
    return gone


def _planned(folder: Path) -> set[str]:
    """Names of temporary files that plans in ``folder`` are about."""
    names: set[str] = set()
    for plan in folder.glob(f".*{PLAN}"):
        with suppress(OSError, ValueError, TypeError):
            names.update(json.loads(plan.read_text(encoding="utf-8")))
    return names


def is_left_over(path: Path) -> bool:
    """Whether nobody writes this temporary file any more."""
    name = PART.fullmatch(path.name)
    if name is None:
        return False
    if name["machine"] == _digest(socket.gethostname()):
        return _digest(started(int(name["pid"])) or "") != name["start"]
    return time.time() - path.stat().st_mtime > FOREIGN


@lru_cache(maxsize=4)
def _own_start(pid: int) -> str:
    return _digest(started(pid) or "")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()[:8]
