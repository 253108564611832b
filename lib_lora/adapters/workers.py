"""Threads for work on many small tensors."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch

T = TypeVar("T")
R = TypeVar("R")
AHEAD = 6  # results that may wait for their turn
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


def made_ahead(make: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """``make(item)`` of each, in order, by :func:`workers`; only a few that nobody has taken yet exist at a time."""
    with workers() as pool:
        waiting: deque[Future[R]] = deque()
        for item in items:
            waiting.append(pool.submit(make, item))
            if len(waiting) > AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


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
