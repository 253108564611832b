"""What happened, numbered, so that a page that was away can catch up."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import Any

KEPT = 5000


@dataclass(frozen=True)
class JobEvent:
    """Event ``id`` (counting up from 1) of job ``job``; ``payload`` is what the job yielded, or a plain dict."""

    id: int
    job: int
    kind: str
    payload: Any
    time: float


class EventLog:
    """The latest events of all jobs; safe to use from several threads."""

    def __init__(self, kept: int = KEPT):
        self._events: deque[JobEvent] = deque(maxlen=kept)
        self._lock = threading.Lock()
        self._last = 0

    def add(self, job: int, kind: str, payload: Any) -> JobEvent:
        with self._lock:
            self._last += 1
            event = JobEvent(self._last, job, kind, payload, time.time())
            self._events.append(event)
            return event

    def since(self, last_seen: int = 0, job: int | None = None) -> list[JobEvent]:
        """Events with a higher id than ``last_seen``; very old ones are gone."""
        with self._lock:
            return [e for e in self._events if e.id > last_seen and (job is None or e.job == job)]

    @property
    def last_id(self) -> int:
        return self._last
