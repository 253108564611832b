"""Who is changing a set of pictures: one at a time, among threads and processes; only the dead are succeeded."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from lib_lora.errors import UserError
from lib_lora.ownership import started

NAME = "owner.json"
WAIT = 2.0  # seconds; most changes are captions that are typed
FOREIGN = 300.0  # seconds without a sign of life after which the owner on another machine counts as gone
_held: dict[Path, str] = {}  # by this process: a file that names it and is not here was left by an interrupted attempt
_lock = threading.Lock()


@dataclass(frozen=True)
class Owner:
    """A process at work: its number alone may belong to another one after a restart, so its start counts too."""

    machine: str
    pid: int
    started: str
    title: str = ""


class Busy(UserError):
    """Somebody else changes the set just now."""

    def __init__(self, owner: Owner, where: Path):
        here = (owner.machine, owner.pid) == (socket.gethostname(), os.getpid())
        whose = "" if here else f", by process {owner.pid} on {owner.machine}"
        what = f"These pictures are just being changed ({owner.title}{whose})"
        super().__init__(what, where=where, fix="Wait until that is done, or cancel it there; looking is possible")


class Claim:
    """The right to change one set; ``folder`` is where its journal lies."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.file = folder / NAME

    @contextmanager
    def held(self, title: str) -> Iterator[None]:
        """Nobody else changes the set within this block.

        Raises:
            Busy: somebody does, and is not done within a moment.
        """
        until = time.monotonic() + WAIT
        while True:
            try:
                self._take(title)
                break
            except Busy:
                if time.monotonic() >= until:
                    raise
            time.sleep(0.05)
        try:
            yield
        finally:
            with _lock:
                _held.pop(self.file, None)
            with suppress(OSError):
                self.file.unlink(missing_ok=True)

    def owner(self) -> Owner | None:
        """Who changes the set now; None where nobody does, or its process has ended."""
        try:
            owner = Owner(**json.loads(self.file.read_text(encoding="utf-8")))
            age = time.time() - self.file.stat().st_mtime
        except (OSError, ValueError, TypeError):
            return None
        return owner if self._lives(owner, age) else None

    def alive(self) -> None:
        """A sign of life, for processes on other machines."""
        with suppress(OSError):
            os.utime(self.file)

    def _take(self, title: str) -> None:
        with _lock:
            if (busy := self.owner()) is not None:
                raise Busy(busy, self.folder)
            self.folder.mkdir(parents=True, exist_ok=True)
            me = Owner(socket.gethostname(), os.getpid(), started(os.getpid()), title)
            self.file.unlink(missing_ok=True)
            try:
                descriptor = os.open(self.file, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
            except FileExistsError:  # another process was faster
                raise Busy(self.owner() or me, self.folder) from None
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                json.dump(asdict(me), file)
            _held[self.file] = title

    def _lives(self, owner: Owner, age: float) -> bool:
        if owner.machine != socket.gethostname():
            return age < FOREIGN
        if owner.pid == os.getpid() and owner.started == started(owner.pid):
            return self.file in _held
        return started(owner.pid) == owner.started != ""
