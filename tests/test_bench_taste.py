"""The benchmarks that have an opinion: the simulated user of ``bench taste``, and the verdicts of ``bench truth``."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from bench import truth
from bench.taste.runs import answer
from bench.truth.claims import (
    ALIKE,
    CHARACTER,
    CLAIMS,
    FREE,
    KEPT,
    LEAKED,
    LEARNED,
    LESS,
    LIKE,
    MORE,
    OF_STYLE,
    STYLE,
    Claim,
)  # fmt: skip
from bench.truth.readings import Readings
from bench.truth.table import cell, filled
from bench.truth.trainings import SETS, SHORT, USUAL, way_of
from bench.truth.verdict import judged, paired
from lib_lora.adapters.block_presets import load_presets
from lib_lora.adapters.blocks import BlockWeights
from lib_lora.adapters.formula import parse
from lib_lora.errors import UserError
from lib_lora.models.families import family
from lib_lora.tools.taste.preference import EQUAL, FIRST, SECOND
from lib_lora.training.config import TrainConfig


def test_the_user_errs_in_a_tenth_of_the_answers() -> None:
    r = np.random.default_rng(0)
    for difference, meant in ((0.3, FIRST), (-0.3, SECOND), (0.01, EQUAL)):
        given = [answer(difference, r) for _ in range(1000)]
        assert 0.87 < given.count(meant) / 1000 < 0.93
        assert difference == 0.01 or EQUAL not in given


def test_a_task_trains_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    class Told(list[str]):
        style = character = None

        def train_styles(self) -> None:
            self.append("style")

        def train_at_night(self) -> None:
            self.append("character")

    tasks = import_module("bench.taste.tasks")
    for only, needed in (("character", ["character"]), ("style", ["style"]), ("", ["style", "character"])):
        told = Told()
        monkeypatch.setattr(tasks, "Bench", lambda told=told: told)
        found = list(tasks.tasks(only))
        assert [task.name for task in found] == needed == told
        assert all(len(task.recipe.requests(0)) == tasks.PICTURES == len(task.wanted) for task in found)


def test_the_interval_is_students() -> None:
    found = paired([0.0, 0.0, 0.0, 0.0], [0.1, 0.2, 0.3, 0.4])
    assert (found.usual, found.other, found.difference) == pytest.approx((0, 0.25, 0.25))
    assert (found.low, found.high) == pytest.approx((0.0447, 0.4553), abs=1e-3)  # 0.25 ∓ 3.182 · 0.1291 / 2
    assert found.seen == MORE and paired([1.0] * 3, [0.5, 0.6, 0.7]).seen == LESS
    assert paired([0.5] * 9, [0.5] * 9).seen == ALIKE and paired([0.0, 1.0], [1.0, 0.0]).seen == ""


@pytest.mark.parametrize(
    ("expected", "holds"),
    [
        ({STYLE: MORE}, True), ({STYLE: LESS}, False), ({STYLE: MORE, KEPT: ALIKE}, None),
        ({STYLE: LESS, KEPT: ALIKE}, False),
    ],
)  # fmt: skip
def test_a_verdict_says_what_was_seen(expected: dict[str, str], holds: bool | None) -> None:
    usual = [{STYLE: 0.1, KEPT: value} for value in (0.0, 1.0, 0.0, 1.0)]
    other = [{STYLE: 0.8 + value / 50, KEPT: 1 - value} for value in (0.0, 1.0, 0.0, 1.0)]
    found = judged(Claim("name", "says", "A:1", "B:1", expected), usual, other)
    start = {True: "Holds", False: "Does not hold", None: "Cannot be told"}[holds]
    assert found.holds is holds and found.sentence.startswith(f"{start} in 4 pairs: style 0.10 → 0.81 (+0.71")


def test_a_verdict_becomes_the_last_cell_of_its_row() -> None:
    rows = [{STYLE: value, KEPT: 0.5} for value in (0.1, 0.2, 0.1, 0.2)]
    claim = Claim("a", "says", "A:1", "B:1", {STYLE: MORE})
    told = cell(judged(claim, rows, [{STYLE: row[STYLE] + 0.3, KEPT: 0.5} for row in rows]), claim)
    assert told == "holds: style 0.15 → 0.45 (+0.30 to +0.30); 4 pairs"
    text = "| `a` | says | A → B | not measured |\n| `a-b` | says | A → B | not measured |\n"
    assert filled(text, {"a": told}) == text.replace("not measured", told, 1)


def test_what_was_read_is_found_by_seed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_module("bench.taste.tasks"), "STATE", tmp_path / "taste")
    known = {f"character seed 1 {number}": {LIKE: number / 12} for number in range(12)}
    (tmp_path / "truth").mkdir()
    (tmp_path / "truth" / "readings.jsonl").write_text(json.dumps(known), encoding="utf-8")
    readings = Readings()
    assert readings.there("character") == {1: list(known.values())}
    assert readings.there("character rank=16") == readings.there("epoch last") == readings.there("STYLE:1") == {}


def test_every_claim_can_be_drawn() -> None:
    for claim in CLAIMS.values():
        assert claim.usual != claim.other
        if claim.usual.split()[0] in (CHARACTER, OF_STYLE):
            for way in (claim.usual, claim.other):
                subject, options = way_of(way)
                for name in (*SETS, "drawn"):
                    options.pop(name, "")
                TrainConfig(**{"name": "a", "data_dir": "a", **SHORT, **USUAL[subject], **options}).check()
            assert set(claim.expected) <= {LIKE, FREE, LEARNED, LEAKED, STYLE, KEPT}
            continue
        if claim.usual.startswith("epoch "):
            assert {claim.usual, claim.other} <= {"epoch last", "epoch lowest", "epoch best"}
            assert set(claim.expected) == {LIKE}
            continue
        assert set(claim.expected) <= {STYLE, KEPT}
        for term in (*parse(claim.usual), *parse(claim.other)):
            assert term.name in ("STYLE", "BASE")
            assert term.blocks is None or BlockWeights.parse(term.blocks, load_presets(), family("sd1"))
    with pytest.raises(UserError, match="no such claim"):
        truth.run("nothing")
