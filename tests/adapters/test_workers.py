"""The pool's threads compute with one thread each; nobody else notices."""

from __future__ import annotations

import threading

import torch

from lib_lora.adapters.workers import workers


def threads_of_a_new_thread() -> int:
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    return found[0]


def test_overlapping_pools_leave_everybodys_threads_alone():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        with workers() as first:
            inside = [first.submit(torch.get_num_threads).result()]
            second = workers()
            with second as pool:
                inside.append(pool.submit(torch.get_num_threads).result())
                assert (torch.get_num_threads(), threads_of_a_new_thread()) == (3, 3)
                first.shutdown()
            inside.append(threads_of_a_new_thread())
        assert inside == [1, 1, 3]
        assert (torch.get_num_threads(), threads_of_a_new_thread()) == (3, 3)
    finally:
        torch.set_num_threads(before)
