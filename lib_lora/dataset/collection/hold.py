"""Who has a set of pictures open, and who took it over: pages of this program, and other processes.

Beside the journal a record names the process that has the set open, and the set's *term*. Whoever opens the set joins
the term, and the changes of all who share it take turns (`lib_lora.dataset.collection.owner`). Taking over begins
another term at once: who is of an older one is refused from the next change on. A change that is alive was admitted
before; it goes on to its end.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from secrets import token_urlsafe
from threading import Lock
from typing import Any
from weakref import WeakSet

from lib_lora import small_files
from lib_lora.dataset.collection.owner import WAIT, being_changed, lives
from lib_lora.errors import UserError
from lib_lora.ownership import Owner, Taken, alone

NAME = "opened.json"
LOCK = "opened.lock"
AFTER = 5.0  # seconds; a page that is heard of within these may be the one whose reload has made the asking one
SILENT = 60.0  # seconds after which a page counts as closed; one in view is heard of every second


@dataclass(frozen=True)
class _Record:
    term: str = ""
    owner: Owner | None = None

    @classmethod
    def of(cls, value: Any) -> _Record:
        given = small_files.mapping(value)
        owner = None if given["owner"] is None else small_files.record(Owner, given["owner"])
        return cls(small_files.text(given["term"]), owner)


class Hold:
    """One opening of a set, by a page or a program that goes on changing it; safe to be shared by threads.

    Args:
        folder: of the set's journal.
        before: the opening that this one goes on as, such as that of a page that was reloaded; else it is a new one,
            of the present term.
    """

    def __init__(self, folder: Path, before: Hold | None = None):
        self.folder = folder
        self.since = time.time()
        self.began = self.heard = time.monotonic()
        self.term = before.term if before else self._join()
        with _LOCK:
            _HOLDS.add(self)

    def succeeded(self) -> UserError | None:
        """That the set was taken over since it was opened here, and by whom; None where it was not."""
        record = self._record()
        if record.term == self.term:
            return None
        who, fix = _named(record.owner) if record.owner else "somebody else", "Open the folder again to change it"
        return UserError(f"This set was taken over by {who}", where=self.folder, fix=fix)

    def check(self) -> None:
        """Admit a change.

        Raises:
            UserError: the set was taken over since.
        """
        if (error := self.succeeded()) is not None:
            raise error

    def take(self) -> None:
        """Begin another term: from now on those who have the set open elsewhere are refused.

        Raises:
            UserError: the disk refuses, or somebody else does the same just now.
        """
        term = token_urlsafe(6)
        try:
            with alone(self.folder / LOCK, WAIT):
                self._write(_Record(term, Owner.present()))
                self.term = term
        except (OSError, UserError, Taken) as error:
            fix = "Check the rights and the free space, and try again"
            raise UserError("This set could not be taken over", where=self.folder, fix=fix) from error

    def release(self) -> None:
        """Say that this program has the set open no longer, unless another page of it has."""
        with _LOCK:
            _HOLDS.discard(self)
        if not (self.folder / NAME).exists():  # nor is the folder made anew, which may have been deleted
            return
        with suppress(OSError, UserError, Taken), alone(self.folder / LOCK, WAIT):
            record = self._record()
            if record.owner is not None and record.owner.here and record.term == self.term and not self._pages():
                self._write(_Record(record.term))

    def others(self) -> str:
        """Who else has the set open, or changes it; empty where nobody is known to."""
        owner = self._record().owner
        self._sign(owner)
        changing = being_changed(self.folder)
        if changing is not None and not changing.here:
            return f"{changing} ({changing.title})"
        if owner is not None and not owner.here and self._lives(owner):
            return _named(owner)
        return f"another page of this program, since {_at(min(pages))}" if (pages := self._pages()) else ""

    def _pages(self) -> list[float]:
        """Since when other pages of this program have the set open, of those that were heard of lately."""
        now = time.monotonic()
        with _LOCK:
            holds = [hold for hold in _HOLDS if hold is not self and hold.folder == self.folder]
        lately = [h for h in holds if h.heard > self.began + AFTER and h.heard > now - SILENT]
        return [hold.since for hold in lately if hold.term == self.term]

    def _join(self) -> str:
        """The present term. A set that cannot be written to can still be looked at."""
        with suppress(OSError, UserError, Taken), alone(self.folder / LOCK, WAIT):
            record = self._record()
            if record.owner is None or not (record.owner.here or self._lives(record.owner)):
                self._write(_Record(record.term, Owner.present()))
            return record.term
        return self._record().term

    def _lives(self, owner: Owner) -> bool:
        return lives(owner, self.folder / NAME)

    def _sign(self, owner: Owner | None) -> None:
        """Show other machines now and then that this process has the set open."""
        file = self.folder / NAME
        with suppress(OSError):
            if owner is not None and owner.here and time.time() - file.stat().st_mtime > SILENT:
                os.utime(file)

    def _record(self) -> _Record:
        with suppress(OSError):
            return small_files.tolerated(self.folder / NAME, _Record.of, _Record())
        return _Record()

    def _write(self, record: _Record) -> None:
        owner = asdict(record.owner) if record.owner else None
        small_files.write_json(self.folder / NAME, {"term": record.term, "owner": owner})


_HOLDS: WeakSet[Hold] = WeakSet()  # of this process
_LOCK = Lock()


def _named(owner: Owner) -> str:
    return f"another page of this program, since {_at(owner.since)}" if owner.here else str(owner)


def _at(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))
