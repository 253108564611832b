"""Two programs on one data folder change one file at once: each change is there afterwards."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from lib_lora import files
from lib_lora.adapters.block_presets import load_presets, save_presets
from lib_lora.errors import UserError
from lib_lora.files import turn, write_text
from lib_lora.ownership import Claim
from lib_lora.tools.picks import Pick, choose, give_star, read_picks
from lib_lora.tools.taste.recipe import Recipe
from lib_lora.tools.taste.session import TasteSession
from lib_lora.ui.draft import Draft
from lib_lora.workbench.made import MadePictures
from lib_lora.workbench.taste import TasteTuning
from tests.turn_worker import ANSWERS, answer, bench

ROOT = Path(__file__).parents[1]


def test_no_answer_is_lost_between_two_programs(tmp_path: Path) -> None:
    made, tuning = MadePictures(bench(tmp_path), "mira"), TasteTuning(bench(tmp_path), "mira")
    made.folder.mkdir(parents=True)
    for number in range(2 * ANSWERS):
        Image.new("RGB", (1, 1)).save(made.folder / f"{number:04}.png")
    tuning.folder.mkdir(parents=True)
    TasteSession(Recipe("mira", prompts=("1girl",)), 2).asked_ahead().save(tuning.path)
    command = [sys.executable, "-m", "tests.turn_worker", str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout and other.stdout.readline() == "ready\n"
        other.stdin.write("go\n")
        other.stdin.flush()
        here = answer(tmp_path, 0)
        there = int(other.communicate(timeout=60)[0])
    assert [drawn.kept for drawn in made.pictures()] == [True] * 2 * ANSWERS
    session = tuning.session()
    assert session is not None and session.answered == here + there > ANSWERS
    assert not [*tmp_path.rglob("*.lock"), *tmp_path.rglob("*.part")]


@pytest.mark.parametrize("kind", ["stars", "chosen", "presets", "draft"])
def test_no_change_is_lost_between_threads(tmp_path: Path, kind: str) -> None:
    """As by two instances, which share nothing but the folder."""
    presets, draft = tmp_path / "presets.txt", tmp_path / "draft.json"
    changes: dict[str, Callable[[int], Any]] = {
        "stars": lambda number: give_star(tmp_path, Pick(f"e{number}", 1.0)),
        "chosen": lambda number: choose(tmp_path, Pick("e1", 1.0)) if number == 4 else
                                 give_star(tmp_path, Pick(f"e{number}", 1.0)),
        "presets": lambda number: save_presets(presets, {f"P{number}": "1"}),
        "draft": lambda number: Draft(draft).put("", {("rank", "epochs", "alpha", "seed")[number % 4]: number}, {}),
    }  # fmt: skip
    start = threading.Barrier(8)

    def work(number: int) -> None:
        start.wait()
        changes[kind](number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    picks, kept = read_picks(tmp_path), Draft(draft).load()
    assert len(picks.stars) == {"stars": 8, "chosen": 7}.get(kind, 0) and (picks.chosen is not None) == (
        kind == "chosen"
    )
    assert sum(name in load_presets(presets) for name in map("P{}".format, range(8))) == 8 * (kind == "presets")
    assert (kept is None) == (kind != "draft") and len(kept[1] if kept else {}) == 4 * (kind == "draft")


def test_who_does_not_end_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "TURN", 0.1)
    path, named = tmp_path / "x.json", r"just being changed \(this program.*x\.json"
    with Claim(tmp_path / ".x.json.lock"), pytest.raises(UserError, match=named), turn(path):
        write_text(path, "")
    assert not path.exists()
    (tmp_path / ".x.json.lock").touch()  # of one that was killed
    with turn(path):
        write_text(path, "1")
    assert [found.name for found in tmp_path.iterdir()] == ["x.json"]


def test_what_was_never_begun_gets_no_folder(tmp_path: Path) -> None:
    for change in (MadePictures(bench(tmp_path), "mira").undo, TasteTuning(bench(tmp_path), "mira").undo):
        with pytest.raises(UserError, match="yet"):
            change()
    assert not any(tmp_path.iterdir())
