"""The *Check* that is under way: what it is doing, and how it is ended."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock

from lib_lora.errors import UserError


class Checking:
    """At most one at a time: a newer *Check* ends the one before, whose answer nobody waits for any more."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._now: _Check | None = None

    @contextmanager
    def begun(self, name: str) -> Iterator[Callable[[str], None]]:
        """Yields what the check calls with a word about what it does; it raises once the check is to end."""
        mine = _Check(name)
        with self._lock:
            if self._now is not None:
                self._now.ended = "A newer check has taken its place"
            self._now = mine
        try:
            yield mine.tell
        finally:
            with self._lock:
                if self._now is mine:
                    self._now = None

    def note(self) -> str | None:
        """What the present one is doing; None where there is none."""
        now = self._now
        return f"Check of {now.name}: {now.note}" if now is not None else None

    def end(self) -> None:
        """End the present one, at its next layer or file."""
        now = self._now
        if now is not None:
            now.ended = "The check was stopped"


class _Check:
    def __init__(self, name: str) -> None:
        self.name, self.note, self.ended = name, "waiting for the model", ""

    def tell(self, note: str) -> None:
        if self.ended:
            raise UserError(self.ended, fix="Press Check again when you need it")
        self.note = note or self.note
