"""Threads for work on many small tensors."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import torch

_ONE_AT_A_TIME = threading.Lock()


@contextmanager
def workers() -> Iterator[ThreadPoolExecutor]:
    """As many threads as torch has, with one each: layers are many and small, and do not profit from more.

    The setting of the other threads, of those to come, and of pools that overlap with this one stays as it is.
    """
    pool = ThreadPoolExecutor(torch.get_num_threads(), "lw-layers", initializer=_take_one_thread)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _take_one_thread() -> None:
    """One thread for what torch does in this thread.

    torch keeps the number per thread, and one that threads begin with: asking for it here makes the first its own, and
    setting it changes both, so that the second has to be given back, by a thread whose own number does not matter.
    """
    with _ONE_AT_A_TIME:
        before = torch.get_num_threads()
        torch.set_num_threads(1)
        giving_back = threading.Thread(target=torch.set_num_threads, args=(before,))
        giving_back.start()
        giving_back.join()
