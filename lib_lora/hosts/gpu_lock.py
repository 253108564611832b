"""The lock around work on the model: re-entrant, first come first served, and one can see that somebody waits."""

from __future__ import annotations

import threading
from collections import deque


class GpuLock:
    """A fair re-entrant lock.

    ``threading.RLock`` may hand itself back to the thread that released it a moment ago; a training job that holds the
    lock slice after slice would then starve the user's image.
    """

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._queue: deque[object] = deque()
        self._owner: int | None = None
        self._depth = 0

    def __enter__(self) -> GpuLock:
        me = threading.get_ident()
        with self._condition:
            if self._owner != me:
                self._wait_for_turn()
                self._owner = me
            self._depth += 1
        return self

    def __exit__(self, *exc: object) -> None:
        with self._condition:
            self._depth -= 1
            if self._depth == 0:
                self._owner = None
                self._condition.notify_all()

    def waiting(self) -> bool:
        """Whether another thread is queueing for the lock."""
        return bool(self._queue)

    def _wait_for_turn(self) -> None:
        ticket = object()
        self._queue.append(ticket)
        try:
            self._condition.wait_for(lambda: self._owner is None and self._queue[0] is ticket)
        finally:  # also when the wait is interrupted, else everybody behind would wait for ever
            self._queue.remove(ticket)
            self._condition.notify_all()
