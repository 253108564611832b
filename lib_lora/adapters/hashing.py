"""Hashes of LoRA files, read while something else is calculated."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from lib_lora.adapters.file import LoraFile, model_hash
from lib_lora.adapters.workers import workers


@contextmanager
def hashed_meanwhile(files: Sequence[LoraFile]) -> Iterator[Callable[[], list[str | None]]]:
    """The hashes of the tensors as they are in the files now, None without a file; read while other work goes on.

    What the files' metadata say may be out of date. Whoever leaves the block early ends the reading.
    """
    left = threading.Event()

    def hashed(file: LoraFile) -> str | None:
        return None if file.path is None else model_hash(file.path, left.is_set)

    with workers() as pool:
        waiting = [pool.submit(hashed, file) for file in files]
        try:
            yield lambda: [one.result() for one in waiting]
        finally:
            left.set()
