"""A job: work that can be watched, paused and ended between slices."""

from __future__ import annotations

import logging
import time
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

from typing_extensions import override

from lib_lora.errors import UserError
from lib_lora.jobs.views import CANCELLING, DONE, ENDED, WAITING, JobView, PlainView
from lib_lora.models.base import Host
from lib_lora.models.memory import is_out_of_memory
from lib_lora.report import report

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Progress:
    """Yielded by a job's work: ``done`` of ``total`` units, and what it is busy with."""

    done: int
    total: int
    note: str = ""


@dataclass
class Clock:
    """Seconds of work, without pauses and waiting."""

    now: Callable[[], float] = time.monotonic
    worked: float = 0.0
    _since: float | None = None

    def start(self) -> None:
        """Go on; nothing where it runs already."""
        if self._since is None:
            self._since = self.now()

    def stop(self) -> None:
        """Stand still; nothing where it does already."""
        if self._since is not None:
            self.worked += self.now() - self._since
            self._since = None

    @property
    def seconds(self) -> float:
        """For how long it has run, pauses left out."""
        return self.worked + (0.0 if self._since is None else self.now() - self._since)


class Job(ABC):
    """Work that the queue pumps in slices; subclasses give ``kind``, ``title`` and :meth:`work`."""

    kind = "job"

    def __init__(self, title: str):
        self.title = title
        self.id = 0
        self.state = WAITING
        self.cancel_requested = False
        self.outcome = DONE  # the state after the work has ended by itself
        self.done, self.total, self.note = 0, 0, ""
        self.result: Any = None
        self.error: dict[str, str] | None = None
        self.traceback = ""
        self.clock = Clock()
        self._first: tuple[int, float] | None = None  # where the present count of units began
        self._moved = 0.0  # seconds, when the last unit was done

    @abstractmethod
    def work(self, host: Host) -> Generator[Any, None, Any]:
        """A generator; a :class:`Progress` that it yields moves the bar, its return value becomes ``result``. It is
        closed when the job is cancelled, so it must clean up in ``finally``."""

    def view(self) -> JobView:
        """A snapshot; kinds of jobs that have more to tell add it to :meth:`common`."""
        return JobView(**self.common())

    def step_aside(self) -> None:  # noqa: B027 — most jobs have nothing to do here
        """Called before the GPU is lent to others; the model must then behave as if this job were not there."""

    def step_back(self) -> None:  # noqa: B027
        """Called when the GPU is ours again."""

    def rest(self) -> None:  # noqa: B027
        """Called when the job is paused, after :meth:`step_aside`: give back what memory of the GPU it alone holds."""

    def stop(self, *, save: bool) -> bool:
        """Asked to end early but tidily. False: this job cannot, cancel it instead."""
        return False

    def close(self) -> None:  # noqa: B027
        """Called once, when it has ended in whatever way, or was taken out of the queue: give back what it owns."""

    def facts(self) -> dict[str, str]:
        """What a report of an error should name of this job."""
        return {}

    def fail(self, error: BaseException, host: Host) -> None:
        """Keep what the user is told of ``error``; what nobody expected is logged with all that led to it."""
        self.error = described(error)
        if isinstance(error, UserError):
            return
        self.traceback = "".join(traceback.format_exception(type(error), error, error.__traceback__))
        LOG.error("The job %r failed\n%s", self.title, self.traceback)  # as text: a traceback keeps all variables alive
        where = " ".join(getattr(host, name, "") for name in ("name", "version")).strip()
        self.error["details"] = report(error, {"Host": where, "Job": self.kind, **self.facts()})

    def advance(self, done: int, total: int, note: str = "") -> None:
        """Move the progress bar; a new total starts a new measurement of speed."""
        if self._first is None or total != self.total or done < self._first[0]:
            self._first = (done, self.clock.seconds)
        if done != self.done:
            self._moved = self.clock.seconds
        self.done, self.total, self.note = done, total, note

    def common(self) -> dict[str, Any]:
        """The values of :class:`JobView`."""
        ending = self.cancel_requested and self.state not in ENDED
        return {
            "id": self.id, "kind": self.kind, "title": self.title, "state": self.state, "done": self.done,
            "total": self.total, "note": CANCELLING if ending else self.note, "elapsed": self.clock.seconds,
            "remaining": self._remaining(), "error": self.error, "traceback": self.traceback,
        }  # fmt: skip

    def _remaining(self) -> float | None:
        if self.state in ENDED or self._first is None or self.done <= self._first[0]:
            return None
        # up to the last unit that is done: one that takes long, as the saving of an epoch, is not taken for many
        units, seconds = self.done - self._first[0], self._moved - self._first[1]
        return (self.total - self.done) * seconds / units


class GeneratorJob(Job):
    """A job around any function ``work(host) -> generator`` whose result is a plain value."""

    def __init__(self, kind: str, title: str, work: Callable[[Host], Generator[Any, None, Any]]):
        super().__init__(title)
        self.kind = kind
        self._work = work

    @override
    def work(self, host: Host) -> Generator[Any, None, Any]:
        return self._work(host)

    @override
    def view(self) -> PlainView:
        return PlainView(**self.common(), result=self.result)


def described(error: BaseException) -> dict[str, str]:
    """An exception as what, where and fix for the page."""
    if isinstance(error, UserError):
        return {"what": error.what, "where": error.where or "", "fix": error.fix or ""}
    if isinstance(error, OSError) and error.filename is not None:
        what = f"A file or folder cannot be used: {error.strerror or type(error).__name__}"
        return {"what": what, "where": str(error.filename), "fix": "Put it back, or choose another folder"}
    if is_out_of_memory(error):
        fix = "Ask for smaller pictures or fewer at once, or close what else uses the card. What is done stays"
        return described(UserError("The graphics card has no memory left", fix=fix))
    what = f"Unexpected error: {error or type(error).__name__}"
    return {"what": what, "where": "", "fix": "Copy the report below when you ask for help"}


def summary(error: BaseException) -> str:
    """An exception in one line, for a sentence that goes on."""
    if isinstance(error, UserError):
        return str(error)
    return " ".join(str(error).split())[:200] or type(error).__name__
