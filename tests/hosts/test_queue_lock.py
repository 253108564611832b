from __future__ import annotations

import importlib.util
import threading
from pathlib import Path

import pytest

from lib_lora.hosts.queue_lock import QueueLock

DOUBLE = Path(__file__).parent / "doubles" / "a1111" / "modules" / "call_queue.py"


@pytest.fixture
def fifo():
    """A lock as the web UI's: a FIFO that wakes the first in line without giving it the lock."""
    spec = importlib.util.spec_from_file_location("call_queue_double", DOUBLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.FIFOLock()


def test_it_is_reentrant_and_counts_turns(fifo):
    lock = QueueLock(fifo)
    with lock, lock:
        assert lock.turn == 1 and not fifo.acquire(False)
    assert fifo.acquire(False)
    fifo.release()
    with lock:
        lock.used_by_host()
    assert lock.turn == 3


def test_a_generation_that_waits_comes_next(fifo):
    lock, order = QueueLock(fifo), []

    def generation(name: str) -> None:
        with fifo:
            order.append(name)

    threads = [threading.Thread(target=generation, args=(f"image {n}",)) for n in (1, 2)]
    with lock:
        for count, thread in enumerate(threads, 1):
            thread.start()
            while len(fifo._pending_threads) < count:
                threading.Event().wait(0.001)
        assert lock.waiting()
        order.append("slice 1")
    with lock:  # at once again, as a training job does
        order.append("slice 2")
    for thread in threads:
        thread.join(5)
    assert order[:2] == ["slice 1", "image 1"] and set(order) == {"slice 1", "slice 2", "image 1", "image 2"}


def test_it_is_free_after_a_failure(fifo):
    lock = QueueLock(fifo)
    with pytest.raises(ValueError), lock:
        raise ValueError
    assert fifo.acquire(False)


def test_the_end_of_a_turn_is_told_and_the_lock_is_free_even_if_that_fails(fifo):
    told = []

    def tell() -> None:
        told.append(fifo.acquire(False))
        raise OSError

    lock = QueueLock(fifo, tell)
    with pytest.raises(OSError), lock:
        with lock:
            pass
        assert not told
    assert told == [False] and fifo.acquire(False)
