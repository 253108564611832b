from __future__ import annotations

import threading
import time

import pytest

from lib_lora import patterns
from lib_lora.errors import UserError


def test_patterns_do_what_re_does():
    assert patterns.matching(r"^up_.*attn\d$", ["up_1.attn2", "down_1.attn2"]) == [True, False]
    assert patterns.matching("attn", ["attn1", "ff", "ATTN"]) == [True, False, False]
    assert patterns.matching("attn", ["ATTN", "é\udce4"], ignore_case=True) == [True, False]
    assert patterns.replaced(r"(\w+) hair", r"hair, \1", ["red hat", "long hair"]) == ["red hat", "hair, long"]
    assert patterns.replaced("a", "b", []) == []


@pytest.mark.parametrize("pattern", ["(", "a{99999999999}", "x" * 2000, "(?P<a>x)(?P<a>y)"])
def test_what_is_not_valid_is_said(pattern):
    with pytest.raises(UserError, match="search pattern"):
        patterns.matching(pattern, ["a"])


def test_a_slow_pattern_is_stopped_and_holds_nobody_up(monkeypatch):
    """It held the lock of the interpreter, and with it the web UI."""
    monkeypatch.setattr(patterns, "SECONDS", 0.6)
    caught: list[UserError] = []

    def search() -> None:
        try:
            patterns.matching(r"(\w+\s?)+$", ["a" * 60 + "!"], where="Tags")
        except UserError as error:
            caught.append(error)

    thread = threading.Thread(target=search)
    thread.start()
    turns, longest, last = 0, 0.0, time.monotonic()
    while thread.is_alive():
        time.sleep(0.01)
        longest, last, turns = max(longest, time.monotonic() - last), time.monotonic(), turns + 1
    thread.join()
    assert "longer than 0.6 seconds" in caught[0].what and caught[0].where == "Tags"
    assert turns > 5 and longest < 0.5
