"""What keeps our part of a web UI's start short."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """No garbage collection meanwhile: what is imported and built here stays until the program ends.

    With a web UI's packages loaded, one look at all objects takes 0.2 s, and our modules and fields come in numbers
    that bring it about. Afterwards they count as old without having been looked at. Nothing happens inside another
    ``uncollected``, or where the collector is off anyway.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        if not gc.get_freeze_count():  # else somebody's frozen objects would thaw with ours
            gc.freeze()
            gc.unfreeze()
        gc.enable()
