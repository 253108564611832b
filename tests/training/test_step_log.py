from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from lib_lora.training import step_log
from lib_lora.training.step_log import cut_after, rows


def line(step: int, loss: float = 0.5) -> str:
    return json.dumps({"step": step, "loss": loss}) + "\n"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(map(line, range(1, 101))))
    return path


@pytest.fixture
def parsed(monkeypatch) -> list[int]:
    """How many lines were parsed, call by call."""
    counts = []
    parse = step_log.parsed_lines

    def counted(text: str):
        counts.append(len(text.splitlines()))
        return parse(text)

    monkeypatch.setattr(step_log, "parsed_lines", counted)
    return counts


def steps(path: Path) -> list[int]:
    return [row["step"] for row in rows(path)]


def append(path: Path, text: str) -> None:
    with open(path, "a") as file:
        file.write(text)


def test_of_a_log_that_grew_only_what_is_new_is_read(log, parsed):
    assert steps(log) == list(range(1, 101))
    append(log, line(101) + line(102))
    parsed.clear()
    assert steps(log) == list(range(1, 103))
    assert sum(parsed) == 2


def test_a_line_that_is_being_written_counts_once_it_is_there(log):
    append(log, line(101)[:9])
    assert steps(log)[-1] == 100
    append(log, line(101)[9:])
    assert steps(log) == list(range(1, 102)) == steps(log)


def test_what_is_no_step_is_left_out(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(line(1).encode() + b'{"step": 2, "lo\n\n[3]\nx\n\xff\n1,2\n' + line(4).encode() + b'{"step":5}')
    assert steps(path) == [1, 4, 5]


def test_a_log_that_was_cut_and_written_on_is_read_anew(log):
    assert steps(log)[-1] == 100
    cut_after(log, 40)
    assert steps(log) == list(range(1, 41))
    append(log, "".join(line(step, 0.25) for step in range(41, 120)))
    assert [row["loss"] for row in rows(log)] == [0.5] * 40 + [0.25] * 79


def test_one_that_was_changed_in_its_middle_is_read_anew(log):
    rows(log)
    log.write_text(log.read_text().replace(line(3), line(3, 0.7)))
    os.utime(log, ns=(1, 1))
    assert rows(log)[2]["loss"] == 0.7


def test_none_is_there(tmp_path):
    assert rows(tmp_path / "none.jsonl") == []
    (tmp_path / "empty.jsonl").touch()
    assert rows(tmp_path / "empty.jsonl") == []
    append(tmp_path / "empty.jsonl", line(1))
    assert steps(tmp_path / "empty.jsonl") == [1]


def test_few_are_remembered(log, tmp_path):
    for number in range(20):
        path = tmp_path / f"{number}.jsonl"
        path.write_text(line(number))
        assert steps(path) == [number]
    assert len(step_log._known) == step_log.KEPT
    assert steps(log) == list(range(1, 101))
