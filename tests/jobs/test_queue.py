"""The queue with plain generators; no model is needed to tell who works when."""

from __future__ import annotations

import threading
import time
import weakref
from contextlib import contextmanager

import pytest
import torch

from lib_lora.errors import UserError
from lib_lora.hosts.gpu_lock import GpuLock
from lib_lora.jobs.events import EventLog
from lib_lora.jobs.job import GeneratorJob, Job, Progress
from lib_lora.jobs.queue import JobQueue
from lib_lora.training.events import Failed
from lib_lora.ui.html import job_error

WAIT = 30


class Machine:
    """A host with nothing but a lock."""

    def __init__(self):
        self.gpu_lock = GpuLock()

    def waiting(self) -> bool:
        return self.gpu_lock.waiting()


@pytest.fixture
def queue():
    return JobQueue(Machine())


def counting(total: int, seconds: float = 0.0, seen: list | None = None):
    def work(host):
        try:
            for i in range(total):
                if seconds:
                    time.sleep(seconds)
                yield Progress(i + 1, total, f"unit {i + 1}")
        finally:
            if seen is not None:
                seen.append("closed")
        return total

    return work


def endless(queue, **options) -> int:
    return queue.submit(GeneratorJob("test", "endless", counting(10**9, 0.002, **options)))


def until(condition, timeout: float = WAIT) -> None:
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, "timed out"
        time.sleep(0.005)


def test_a_job_runs_to_its_result(queue):
    view = queue.wait(queue.submit(GeneratorJob("test", "three", counting(3))), WAIT)
    assert (view.state, view.done, view.total, view.result, view.note) == ("done", 3, 3, 3, "unit 3")


def test_one_at_a_time_and_in_order(queue):
    running, order = [], []

    def work(name):
        def generator(host):
            running.append(name)
            assert running == [name]
            yield
            order.append(name)
            running.remove(name)

        return generator

    ids = [queue.submit(GeneratorJob("test", name, work(name))) for name in "abc"]
    assert all(queue.wait(i, WAIT).state == "done" for i in ids) and order == ["a", "b", "c"]


def test_what_has_ended_is_remembered_for_a_while(queue, monkeypatch):
    monkeypatch.setattr("lib_lora.jobs.queue.HISTORY", 3)
    queue = JobQueue(queue.host)
    ids = [queue.submit(GeneratorJob("test", str(n), counting(1))) for n in range(5)]
    queue.wait(ids[-1], WAIT)
    assert [view.id for view in queue.jobs()] == ids[2:] and queue.view(ids[-1]).result == 1
    for job, error in ((ids[0], "no such job"), (ids[-1], "has ended")):
        with pytest.raises(UserError, match=error):
            queue.find(job)
    queue.cancel(ids[-1])  # a click that came too late
    assert queue.view(ids[-1]).state == "done"


def test_nothing_of_a_job_is_left_after_it(queue):
    class Holding(GeneratorJob):
        pass

    def failing(host):
        held = Holding("inner", "", counting(1))
        alive.append(weakref.ref(held))
        yield
        raise ValueError(held)

    alive = []
    for work in (counting(3), failing, counting(10**9, 0.002)):
        job = Holding("test", "job", work)
        alive.append(weakref.ref(job))
        number = queue.submit(job)
        del job
        until(lambda number=number: queue.view(number).elapsed > 0 or queue.view(number).ended)
        queue.cancel(number)
        queue.wait(number, WAIT)
    until(lambda: queue._worker is None)
    assert [reference() for reference in alive] == [None] * 4


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, MemoryError])
def test_whatever_a_job_raises_the_next_one_is_done(queue, error):
    def raising(host):
        yield
        raise error("stop")

    bad, good = (queue.submit(GeneratorJob("test", "job", work)) for work in (raising, counting(1)))
    assert queue.wait(bad, WAIT).state == "failed" and queue.wait(good, WAIT).state == "done"


@pytest.mark.parametrize(
    "error", [torch.cuda.OutOfMemoryError("tried"), RuntimeError("HIP out of memory. Tried 2 GiB")]
)
def test_a_full_card_is_no_unexpected_error(queue: JobQueue, error: Exception) -> None:
    """A grid asked for a report to be copied, where smaller pictures were what helps."""

    def work(host):
        yield Progress(0, 1)
        raise error

    view = queue.wait(queue.submit(GeneratorJob("test", "grid", work)), WAIT)
    assert view.error["what"] == "The graphics card has no memory left" and "smaller pictures" in view.error["fix"]
    assert "Traceback" in view.error["details"]


def test_pause_frees_the_machine_and_resume_goes_on(queue):
    job = endless(queue)
    until(lambda: queue.view(job).done > 3)
    queue.pause()
    until(lambda: queue.view(job).state == "paused")
    with queue.host.gpu_lock:
        done = queue.view(job).done
    time.sleep(0.05)
    assert queue.view(job).done == done
    worked = queue.view(job).elapsed
    time.sleep(0.05)
    assert queue.view(job).elapsed == worked
    queue.resume()
    until(lambda: queue.view(job).done > done)
    queue.cancel(job)
    assert queue.wait(job, WAIT).state == "cancelled"


def test_a_paused_job_rests_until_it_goes_on(queue):
    calls = []

    class Watched(GeneratorJob):
        def step_back(self):
            calls.append("back")

        def step_aside(self):
            calls.append("aside")

        def rest(self):
            calls.append("rest")

    job = queue.submit(Watched("test", "job", counting(10**9, 0.002)))
    until(lambda: queue.view(job).done > 1)
    queue.pause()
    until(lambda: queue.view(job).state == "paused")
    assert calls[-2:] == ["aside", "rest"]
    queue.resume()
    until(lambda: calls[-1] != "rest")
    assert calls.count("rest") == 1 and calls[calls.index("rest") + 1] == "back"
    queue.cancel(job)
    assert queue.wait(job, WAIT).state == "cancelled"


def test_cancel_closes_the_generator(queue):
    seen = []
    job = endless(queue, seen=seen)
    until(lambda: queue.view(job).done > 1)
    queue.cancel()
    assert queue.wait(job, WAIT).state == "cancelled" and seen == ["closed"]


def test_a_click_on_cancel_is_seen_before_the_job_has_ended(queue):
    slow, go_on = threading.Event(), threading.Event()

    def work(_):
        yield Progress(1, 9, "reading")
        slow.set()
        go_on.wait(WAIT)
        yield Progress(2, 9, "reading")

    job = queue.submit(GeneratorJob("test", "slow", work))
    assert slow.wait(WAIT)
    queue.cancel(job)
    assert queue.view(job).note == "cancelling"
    go_on.set()
    assert queue.wait(job, WAIT).state == "cancelled" and queue.view(job).note != "cancelling"


def test_cancel_while_paused_and_while_waiting(queue):
    first, second = endless(queue), endless(queue)
    queue.cancel(second)
    assert queue.view(second).state == "cancelled"
    until(lambda: queue.view(first).done > 0)
    queue.pause(first)
    until(lambda: queue.view(first).state == "paused")
    queue.cancel(first)
    assert queue.wait(first, WAIT).state == "cancelled"


def test_errors_reach_the_user_and_the_queue_goes_on(queue, caplog):
    def user_error(host):
        yield
        raise UserError("The file is cut off", where="a.safetensors", fix="Download it again")

    def bug(host):
        yield 1 / 0

    bad, worse, good = (
        queue.submit(GeneratorJob("test", "job", work)) for work in (user_error, bug, counting(1))
    )  # fmt: skip
    view = queue.wait(bad, WAIT)
    assert view.state == "failed"
    assert view.error == {"what": "The file is cut off", "where": "a.safetensors", "fix": "Download it again"}
    view = queue.wait(worse, WAIT)
    assert "division by zero" in view.error["what"] and "ZeroDivisionError" in view.traceback
    assert "ZeroDivisionError" in caplog.text and "in bug" in caplog.text  # the whole of it
    assert "in bug" in view.error["details"] and "torch" in view.error["details"]
    assert "Copy report" in job_error(view.error) and "in bug" in job_error(view.error)
    assert queue.wait(good, WAIT).state == "done"


def test_reorder(queue):
    blocker = endless(queue)
    until(lambda: queue.view(blocker).state == "running")
    ids = [queue.submit(GeneratorJob("test", str(n), counting(1))) for n in range(3)]
    queue.reorder(ids[2], -2)
    assert [view.id for view in queue.jobs() if view.state == "waiting"] == [ids[2], ids[0], ids[1]]
    with pytest.raises(UserError, match="Only waiting"):
        queue.reorder(blocker, 1)
    queue.cancel(blocker)
    for job in ids:
        queue.wait(job, WAIT)


def test_somebody_else_gets_the_machine_soon_and_the_job_steps_aside(queue):
    class Polite(Job):
        kind = "test"
        on_model = False

        def work(self, host):
            while True:
                time.sleep(0.002)
                yield

        def step_aside(self):
            self.on_model = False

        def step_back(self):
            self.on_model = True

    job = Polite("polite")
    job_id = queue.submit(job)
    until(lambda: job.on_model)
    waited = []
    for _ in range(5):
        started = time.monotonic()
        with queue.host.gpu_lock:
            waited.append(time.monotonic() - started)
            assert not job.on_model
    assert max(waited) < 5
    until(lambda: job.on_model)
    queue.cancel(job_id)
    queue.wait(job_id, WAIT)


def test_lock_is_held_while_working_and_while_cleaning_up(queue):
    held = []

    @contextmanager
    def session(lock):
        try:
            yield
        finally:
            held.append(lock._owner == threading.get_ident())

    def work(host):
        with session(host.gpu_lock):
            while True:
                held.append(host.gpu_lock._owner == threading.get_ident())
                yield

    job = queue.submit(GeneratorJob("test", "job", work))
    until(lambda: len(held) > 2)
    queue.cancel(job)
    queue.wait(job, WAIT)
    assert all(held)


def test_the_thread_ends_when_there_is_nothing_to_do(queue):
    queue.wait(queue.submit(GeneratorJob("test", "job", counting(1))), WAIT)
    until(lambda: queue._worker is None)
    assert queue.wait(queue.submit(GeneratorJob("test", "job", counting(1))), WAIT).state == "done"


def test_remaining_time_is_measured(queue):
    job = queue.submit(GeneratorJob("test", "job", counting(200, 0.005)))
    until(lambda: queue.view(job).remaining is not None)
    view = queue.view(job)
    assert 0 < view.remaining < 20 and view.elapsed > 0
    queue.cancel(job)
    queue.wait(job, WAIT)


def test_a_long_unit_does_not_drive_up_the_time_left(queue):
    """While an epoch is saved no step is done: the line said 28 s left, then 1 min 22 s."""
    job, now = GeneratorJob("test", "job", counting(1)), [0.0]
    job.clock.now = lambda: now[0]
    job.clock.start()
    for done in range(5):
        now[0] = 3.0 * done
        job.advance(done, 10)
    assert job.view().remaining == 18
    now[0] += 60
    assert job.view().remaining == 18
    job.advance(5, 10)
    assert job.view().remaining == 72


def test_the_time_left_does_not_follow_a_clock_that_is_set_back(queue, monkeypatch):
    job = queue.submit(GeneratorJob("test", "job", counting(400, 0.005)))
    until(lambda: queue.view(job).remaining is not None)
    earlier = time.time() - 7200
    monkeypatch.setattr(time, "time", lambda: earlier)
    before = queue.view(job)
    until(lambda: queue.view(job).done > before.done + 5)
    view = queue.view(job)
    assert 0 < view.remaining < 40 and before.elapsed < view.elapsed < 40
    queue.cancel(job)
    queue.wait(job, WAIT)


def test_unknown_job(queue):
    with pytest.raises(UserError, match="no such job"):
        queue.view(99)


def test_what_jobs_did_can_be_read_afterwards(queue):
    first = queue.submit(GeneratorJob("test", "a", counting(3)))
    second = queue.submit(GeneratorJob("test", "b", counting(1)))
    queue.wait(second)
    mine = queue.events(0, first)
    assert [(event.kind, event.payload.get("state", event.payload.get("done"))) for event in mine] == [
        ("state", "running"), ("Progress", 1), ("Progress", 2), ("Progress", 3), ("state", "done")
    ]  # fmt: skip
    everything = queue.events()
    assert [event.id for event in everything] == list(range(1, len(everything) + 1))
    assert queue.events(mine[-1].id) == [event for event in everything if event.job == second]


def test_old_events_go_and_plain_values_stay():
    log = EventLog(kept=3)
    log.note(1, object())
    for step in range(5):
        log.note(1, Failed(UserError("NaN", fix="lower it"), step, None))
    kept = log.since(0, None)
    assert [event.id for event in kept] == [3, 4, 5]
    assert {type(value) for event in kept for value in event.payload.values()} == {str, int, type(None)}
