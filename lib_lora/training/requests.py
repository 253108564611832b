"""What is asked of a training while it runs, by any thread: nothing is lost, and a stop always wins."""

from __future__ import annotations

import threading

STOP, SAVE_AND_STOP, SAVE, SAMPLE, BACKUP = "stop", "save_and_stop", "save", "sample", "backup"
KNOWN = frozenset((STOP, SAVE_AND_STOP, SAVE, SAMPLE, BACKUP))
STOPS = frozenset((STOP, SAVE_AND_STOP))


class Requests:
    """A set of wishes, each of which is fulfilled once after the present step."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._asked: set[str] = set()
        self._stopping = self._closed = False

    def add(self, what: str) -> bool:
        """Ask for ``"stop"``, ``"save_and_stop"``, ``"save"``, ``"sample"`` or ``"backup"``.

        Returns:
            False if training has ended: nobody will do it any more.
        """
        if what not in KNOWN:
            raise ValueError(f"unknown request {what!r}")
        with self._lock:
            if not self._closed:
                self._asked.add(what)
                self._stopping |= what in STOPS
            return not self._closed

    def take(self) -> frozenset[str]:
        """What was asked since the last call."""
        with self._lock:
            asked = frozenset(self._asked)
            self._asked.clear()
            return asked

    def close(self) -> frozenset[str]:
        """:meth:`take` for the last time; from now on :meth:`add` refuses."""
        with self._lock:
            self._closed = True
        return self.take()

    @property
    def stopping(self) -> bool:
        """Whether a stop was asked for, so that whatever takes long is to be given up."""
        return self._stopping
