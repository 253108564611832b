"""A bound on a test's time that a slow or busy machine does not break.

Such tests guard against work that grows with the square of what is read. Their bounds are CPU seconds of the machine
that they were set on; elsewhere, and beside other work, a yardstick of the same kind says how much slower it is then.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager

YARDSTICK = 0.12  # CPU seconds that `_yardstick` takes on the machine of the bounds


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Raises AssertionError if what is done inside takes more CPU time than that, at the machine's present pace."""
    before = _yardstick()
    start = time.process_time()
    yield
    taken = time.process_time() - start
    allowed = seconds * max(before, _yardstick(), YARDSTICK) / YARDSTICK
    assert taken < allowed, f"{taken:.2f} s, where {allowed:.2f} s are allowed"


def _yardstick() -> float:
    """CPU seconds for text, small objects and fresh memory, of each some."""
    start = time.process_time()
    text = json.dumps({"text": '{"a tag, (b)": 1},\n' * 100_000, "rows": [[n, str(n)] for n in range(40_000)]})
    assert len(json.loads(text)["text"].encode() + bytes(20_000_000)) > 20_000_000
    return time.process_time() - start
