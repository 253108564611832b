"""A web UI's generation queue as our GPU lock: re-entrant for us, and nobody who waits is passed over."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

HAND_OVER = 0.1  # seconds within which a woken thread takes the lock, or has had it
LOOK = 0.001


class QueueLock:
    """Implements :class:`lib_lora.models.base.GpuLock` over ``modules.call_queue.queue_lock``.

    The host's lock is a FIFO that cannot be entered twice, and that wakes the first in line without giving it the lock:
    a thread that releases and at once acquires again would win. So the releasing side waits until the other has it.

    Args:
        lock: the host's ``FIFOLock``, or anything with ``acquire`` and ``release``.
        before_release: called at the end of each turn, while the lock is still ours.

    Attributes:
        turn: grows whenever the model may have been in other hands since.
    """

    def __init__(self, lock: Any, before_release: Callable[[], None] | None = None):
        self.turn = 0
        self._lock = lock
        self._before_release = before_release
        self._owner: int | None = None
        self._depth = 0

    def __enter__(self) -> QueueLock:
        me = threading.get_ident()
        if self._owner != me:
            self._lock.acquire()
            self._owner = me
            self.turn += 1
        self._depth += 1
        return self

    def __exit__(self, *exc: object) -> None:
        if self._depth > 1:
            self._depth -= 1
            return
        try:
            if self._before_release is not None:
                self._before_release()
        finally:
            self._release()

    def _release(self) -> None:
        self._depth, self._owner = 0, None
        somebody = self.waiting()
        self._lock.release()
        if somebody:
            self._let_pass()

    def waiting(self) -> bool:
        """Whether another thread is queueing for the host's lock."""
        return bool(getattr(self._lock, "_pending_threads", ()))

    def used_by_host(self) -> None:
        """Note that the host has worked on the model within our turn."""
        self.turn += 1

    def _let_pass(self) -> None:
        inner = getattr(self._lock, "_lock", None)
        until = time.monotonic() + HAND_OVER
        while inner is not None and not inner.locked() and time.monotonic() < until:
            time.sleep(LOOK)
