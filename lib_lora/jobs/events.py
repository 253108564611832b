"""What jobs did, numbered, so that a script or a page that was away can catch up: small records of plain values."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from lib_lora.jobs.job import Progress
from lib_lora.training.events import Event

KEPT = 2000  # of all jobs together
STATE = "state"


@dataclass(frozen=True)
class JobEvent:
    """Event ``id`` (counting up from 1) of job ``job``.

    Attributes:
        kind: ``"state"``, or the class of what the job yielded, such as ``"StepDone"`` or ``"Warned"``.
        payload: its values, plain ones: a record that outlives the job must hold no model and no traceback.
        time: seconds since 1970.
    """

    id: int
    job: int
    kind: str
    payload: Mapping[str, Any]
    time: float


class EventLog:
    """The latest events of all jobs; safe to use from several threads."""

    def __init__(self, kept: int = KEPT):
        self._events: deque[JobEvent] = deque(maxlen=kept)
        self._last = 0
        self._lock = threading.Lock()

    def add(self, job: int, kind: str, payload: Mapping[str, Any]) -> None:
        """Note that something happened to job number ``job``; the oldest events make room."""
        with self._lock:
            self._last += 1
            self._events.append(JobEvent(self._last, job, kind, payload, time.time()))

    def note(self, job: int, item: object) -> None:
        """What a job yielded, if it is something to tell of."""
        if isinstance(item, Event):
            self.add(job, type(item).__name__, item.to_dict())
        elif isinstance(item, Progress):
            self.add(job, type(item).__name__, asdict(item))

    def since(self, last_seen: int, job: int | None) -> list[JobEvent]:
        """Those with a higher id than ``last_seen``, of one job or (None) of all; very old ones are gone."""
        with self._lock:
            return [event for event in self._events if event.id > last_seen and job in (None, event.job)]
