"""Lines that say what the tour does, with the time that has passed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

PAUSE = 5.0  # seconds between two lines of one piece of work


class Progress:
    """Prints lines such as ``[ 1:23] training mira: 40 of 144``; ``seconds`` has the time of each piece of work."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._start = time.monotonic()
        self._last = 0.0
        self._piece = ""

    @contextmanager
    def piece(self, name: str) -> Iterator[None]:
        """Name and time the work of a ``with`` block."""
        self._piece = name
        self.say("…")
        start = self._last = time.monotonic()
        yield
        self.seconds[name] = round(time.monotonic() - start, 1)

    def count(self, done: int, total: int, note: str = "") -> None:
        """How far the piece is; printed every few seconds and at its end."""
        if done == total or time.monotonic() - self._last > PAUSE:
            self.say(f"{done} of {total}" + (f", {note}" if note else ""))
            self._last = time.monotonic()

    def say(self, text: str) -> None:
        """Print a line at once."""
        minutes, seconds = divmod(int(time.monotonic() - self._start), 60)
        print(f"[{minutes:2}:{seconds:02}] {self._piece}: {text}", flush=True)
