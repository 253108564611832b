from __future__ import annotations

import threading

from lib_lora.hosts.gpu_lock import GpuLock


def test_lock_is_reentrant():
    lock = GpuLock()
    with lock, lock:
        assert not lock.waiting()
    with lock:
        pass


def test_a_waiting_thread_is_seen_and_served_before_the_holder_returns():
    lock, order, inside = GpuLock(), [], threading.Event()

    def user() -> None:
        with lock:
            order.append("user")
            inside.set()

    thread = threading.Thread(target=user)
    with lock:
        thread.start()
        while not lock.waiting():
            threading.Event().wait(0.001)
        order.append("job")
    with lock:  # at once again, as a training job does
        order.append("job again")
    thread.join(5)
    assert order == ["job", "user", "job again"] and inside.is_set() and not lock.waiting()


def test_lock_is_free_after_an_exception():
    lock = GpuLock()
    try:
        with lock:
            raise ValueError
    except ValueError:
        pass
    done = threading.Event()
    thread = threading.Thread(target=lambda: (lock.__enter__(), lock.__exit__(), done.set()))
    thread.start()
    assert done.wait(5)
