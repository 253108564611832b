"""One GPU, many wishes: a queue with one worker thread that runs only while there is work."""

from __future__ import annotations

import gc
import threading
import time
from collections import deque
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any

from lib_lora.errors import Cancelled, UserError
from lib_lora.jobs.events import STATE, EventLog, JobEvent
from lib_lora.jobs.job import Job, Progress
from lib_lora.jobs.views import CANCELLED, DONE, ENDED, FAILED, PAUSED, RUNNING, WAITING, JobView
from lib_lora.models.base import Host

SLICE = 0.25  # seconds of work between two looks at what the user wants
POLITE = 0.02  # seconds between looks at whether the host still waits
HISTORY = 100  # jobs that are remembered after their end


class JobQueue:
    """Pumps one job's generator at a time, in slices under ``host.gpu_lock``.

    Between slices the lock is free: a generation that waits for it gets it, on a model from which the job has stepped
    aside. When a job has ended the queue lets go of it; what stays is its :class:`JobView`. All methods may be called
    from any thread.
    """

    def __init__(self, host: Host):
        self.host = host
        self._live: list[Job] = []
        self._ended: deque[JobView] = deque(maxlen=HISTORY)
        self._log = EventLog()
        self._last_id = 0
        self._changed = threading.Condition()
        self._worker: threading.Thread | None = None  # while there is work
        self._thread: threading.Thread | None = None  # the latest
        self._paused: set[int] = set()

    # -- for everybody ------------------------------------------------------------------------------------------------

    def submit(self, job: Job) -> int:
        """Append a job; returns its id."""
        with self._changed:
            self._last_id += 1
            job.id = self._last_id
            self._live.append(job)
            self._changed.notify_all()
            if self._worker is None:
                self._worker = self._thread = threading.Thread(target=self._work, name="lora-workbench", daemon=True)
                self._worker.start()
        return job.id

    def jobs(self) -> list[JobView]:
        """The latest that have ended, in that order; then the running one; then the waiting ones as they will run."""
        with self._changed:
            return [*self._ended, *(job.view() for job in self._live)]

    def view(self, job_id: int) -> JobView:
        """One job; UserError if there is none of that id, or it ended long ago."""
        with self._changed:
            job = self._alive(job_id)
            return job.view() if job is not None else self._remembered(job_id)

    def find(self, job_id: int) -> Job:
        """A job that has not ended; UserError if there is none of that id."""
        with self._changed:
            job = self._alive(job_id)
            if job is None:
                raise UserError("This job has ended", where=self._remembered(job_id).title, fix="Start it again")
            return job

    def current(self) -> JobView | None:
        """The job that is running or paused."""
        with self._changed:
            job = self._pick(None)
            return None if job is None else job.view()

    def events(self, last_seen: int = 0, job: int | None = None) -> list[JobEvent]:
        """What happened after event ``last_seen``, to one job or (None) to all; for scripts that watch."""
        return self._log.since(last_seen, job)

    def pause(self, job_id: int | None = None) -> None:
        """Hold the job (default: the current one) after its slice; the model is free meanwhile."""
        with self._changed:
            if (job := self._pick(job_id)) is not None:
                self._paused.add(job.id)
                self._changed.notify_all()

    def resume(self, job_id: int | None = None) -> None:
        """Go on with a paused job."""
        with self._changed:
            if (job := self._pick(job_id)) is not None:
                self._paused.discard(job.id)
                self._changed.notify_all()

    def stop(self, job_id: int | None = None, *, save: bool = False) -> None:
        """End the job tidily after its step: it can be continued. With ``save`` it also writes its result so far."""
        with self._changed:
            job = self._pick(job_id)
            if job is None:
                return
            if job.state == WAITING or not job.stop(save=save):
                self._cancel(job)
            self._paused.discard(job.id)
            self._changed.notify_all()

    def cancel(self, job_id: int | None = None) -> None:
        """End the job as soon as it comes up for air; also takes a waiting job out of the queue."""
        with self._changed:
            if (job := self._pick(job_id)) is not None:
                self._cancel(job)
                self._changed.notify_all()

    def end(self) -> bool:
        """Take back what waits and end tidily what runs, for a program that is about to end; False if there is nothing
        that still has to."""
        with self._changed:
            for job in [job for job in self._live if job.state == WAITING]:
                self._cancel(job)
            self.stop()
            return bool(self._live)

    def reorder(self, job_id: int, places: int) -> None:
        """Move a waiting job ``places`` later (negative: earlier) among the waiting ones."""
        with self._changed:
            job = self.find(job_id)
            slots = [i for i, j in enumerate(self._live) if j.state == WAITING]
            order = [self._live[i] for i in slots]
            if job not in order:
                raise UserError("Only waiting jobs can be moved", where=job.title)
            place = order.index(job)
            order.insert(max(0, min(len(order) - 1, place + places)), order.pop(place))
            for slot, moved in zip(slots, order, strict=True):
                self._live[slot] = moved

    @contextmanager
    def held_waiting(self, job_id: int) -> Iterator[Job]:
        """The job, which does not begin within the ``with`` block.

        Raises:
            UserError: it does not wait any more.
        """
        with self._changed:
            job = self.find(job_id)
            if job.state != WAITING:
                raise UserError("This job does not wait any more", where=job.title, fix="Choose a waiting one")
            yield job

    def wait(self, job_id: int, timeout: float | None = None) -> JobView:
        """Block until the job has ended (or the time is over); for scripts, not for pages."""
        with self._changed:
            job = self._alive(job_id)
            if job is None:
                return self._remembered(job_id)
            self._changed.wait_for(lambda: job.state in ENDED, timeout)
            return job.view()

    def leave(self, timeout: float | None = None) -> None:
        """Wait until the worker is gone, after the last job has ended: for programs that end then. An interpreter that
        ends while a thread of it still computes may crash."""
        if self._thread is not None:
            self._thread.join(timeout)

    # -- the worker ---------------------------------------------------------------------------------------------------

    def _work(self) -> None:
        while (job := self._next()) is not None:
            try:
                self._run(job)
                outcome = job.outcome
            except Cancelled:
                outcome = CANCELLED
            except BaseException as error:  # whatever a job does, the queue goes on and the user is told
                job.fail(error, self.host)
                outcome = FAILED
            self._end(job, outcome)
            del job
            gc.collect()  # now, and not when a training has long needed the memory

    def _next(self) -> Job | None:
        with self._changed:
            job = next((j for j in self._live if j.state == WAITING), None)
            if job is None:
                self._worker = None  # under the lock: a later submit starts a new thread
            else:
                self._set_state(job, RUNNING)
            return job

    def _run(self, job: Job) -> None:
        work = job.work(self.host)
        try:
            ended = False
            while not ended:
                self._hold(job)
                with self.host.gpu_lock:
                    job.clock.start()
                    try:
                        job.step_back()
                        ended = self._slice(job, work)
                    finally:
                        job.step_aside()
                        job.clock.stop()
        finally:
            with self.host.gpu_lock:  # clean-up touches the model
                work.close()

    def _slice(self, job: Job, work: Generator[Any, None, Any]) -> bool:
        """Pump for a moment; True when the work is over."""
        until = time.monotonic() + SLICE
        while True:
            try:
                item = next(work)
            except StopIteration as end:
                job.result = end.value
                return True
            self._log.note(job.id, item)
            if isinstance(item, Progress):
                job.advance(item.done, item.total, item.note)
            wanted = job.cancel_requested or job.id in self._paused
            if wanted or self.host.waiting() or time.monotonic() >= until:
                return False

    def _hold(self, job: Job) -> None:
        """Between slices: let others pass, stay while paused, leave when cancelled."""
        while self.host.waiting() and not job.cancel_requested:
            time.sleep(POLITE)
        if job.id in self._paused:
            job.rest()
        with self._changed:
            if job.id in self._paused:
                self._set_state(job, PAUSED)
                self._changed.wait_for(lambda: job.id not in self._paused or job.cancel_requested)
                self._set_state(job, RUNNING)
        if job.cancel_requested:
            raise Cancelled

    # -- small parts --------------------------------------------------------------------------------------------------

    def _cancel(self, job: Job) -> None:
        if job.state == WAITING:
            self._end(job, CANCELLED)
        else:
            job.cancel_requested = True

    def _set_state(self, job: Job, state: str) -> None:
        with self._changed:
            job.state = state
            self._log.add(job.id, STATE, {"state": state, "error": job.error})
            self._changed.notify_all()

    def _end(self, job: Job, state: str) -> None:
        """Keep the record of a job, and let go of the job itself."""
        with self._changed:
            job.close()
            self._set_state(job, state)
            self._live.remove(job)
            self._paused.discard(job.id)
            view = job.view()
            if state == DONE:
                older = [old.slim() if old.kind == view.kind else old for old in self._ended]
                self._ended = deque(older, maxlen=HISTORY)
            self._ended.append(view)

    def _alive(self, job_id: int) -> Job | None:
        return next((job for job in self._live if job.id == job_id), None)

    def _remembered(self, job_id: int) -> JobView:
        for view in self._ended:
            if view.id == job_id:
                return view
        raise UserError("There is no such job", where=str(job_id), fix="Reload the page")

    def _pick(self, job_id: int | None) -> Job | None:
        """The named job, None once it has ended; else the current one."""
        if job_id is None:
            return next((job for job in self._live if job.state in (RUNNING, PAUSED)), None)
        if (job := self._alive(job_id)) is None:
            self._remembered(job_id)
        return job
