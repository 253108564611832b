"""Pictures that are made to be trained on: drawn, sifted, chosen from and taken into a set, and the pairs of sliders;
whole or damaged before."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from PIL import Image

from bench.faults.campaign import Campaign, Files, all_or_nothing
from bench.faults.pictures import SIDE, Painter
from bench.faults.training import DAMAGES, again, sweep, undisturbed
from lib_lora.dataset.editor import STATE_FOLDER, DatasetEditor
from lib_lora.models.base import GenerationRequest
from lib_lora.small_files import Damaged
from lib_lora.tools.grid import RECORD
from lib_lora.tools.made.choice import CHOICE, Choice
from lib_lora.tools.made.drawing import generate_dataset, pictures_in
from lib_lora.tools.made.pairs import GridColumns
from lib_lora.tools.made.sifting import ASIDE, sift
from lib_lora.tools.made.spec import PictureSpec
from lib_lora.tools.made.taking import plan_take

SPEC = PictureSpec(("1girl, hat", "1girl, night"), 3, GenerationRequest("", width=SIDE, height=SIDE), trigger="mira")
CACHE = "cache"


def campaigns() -> list[Campaign]:
    """Drawing goes on, answers and pairs are whole or not there, and a set is as before or as after."""
    return [
        Campaign("made: drawn and sifted", lambda folder: None, _draw, again(_draw), undisturbed, (CACHE,)),
        Campaign("made: an answer", _drawn, _answer, sweep, all_or_nothing, (CACHE,)),
        Campaign("made: an answer taken back", _answered, _undo, sweep, all_or_nothing, (CACHE,)),
        *(_taken(undo) for undo in (False, True)),
        Campaign("made: pairs of a grid", _grid, _pairs, again(_pairs), undisturbed),
        *(_of_damaged(name, damage) for name in (ASIDE, "0001.png", "0002.txt") for damage in DAMAGES),
        *(_answered_over_damage(damage) for damage in DAMAGES),
    ]


def _of_damaged(name: str, damage: str) -> Campaign:
    """Gone on with after one of the files was ``damage``d; a caption may be the user's, and stays as it is."""

    def prepare(folder: Path) -> None:
        _drawn(folder)
        path = folder / "made" / name
        path.write_bytes(DAMAGES[damage](path.read_bytes()))

    return Campaign(f"made: {name} {damage}", prepare, _draw, again(_draw), undisturbed, (CACHE,))


def _answered_over_damage(damage: str) -> Campaign:
    """What cannot be read is not written over: it is named."""

    def prepare(folder: Path) -> None:
        _answered(folder)
        path = folder / "made" / CHOICE
        path.write_bytes(DAMAGES[damage](path.read_bytes()))

    def act(folder: Path) -> None:
        try:
            _answer(folder)
        except Damaged:
            (folder / "said").touch()

    def named(before: Files, after: Files, now: Files) -> list[str]:
        return all_or_nothing(before, {**before, "said": b""}, now) or all_or_nothing(before, after, now)

    return Campaign(f"made: {CHOICE} {damage}", prepare, act, sweep, named, (CACHE,))


def _taken(undo: bool) -> Campaign:
    """Into a set, and out of it again."""

    def prepare(folder: Path) -> None:
        _answered(folder)
        (folder / "set" / "1_mira").mkdir(parents=True)
        Image.new("RGB", (SIDE, SIDE), "green").save(folder / "set" / "1_mira" / "own.png")
        if undo:
            act_on(folder)

    def act_on(folder: Path) -> None:
        kept = [path for path in pictures_in(folder / "made") if Choice.load(folder / "made").states().get(path.stem)]
        _open(folder).apply(plan_take(kept, folder / "set", "1_made mira"))

    def act(folder: Path) -> None:
        if undo:
            _open(folder).undo()
        else:
            act_on(folder)

    title = "made: out of the set again" if undo else "made: into a set"
    return Campaign(title, prepare, act, lambda folder: _open(folder) and None, all_or_nothing, (STATE_FOLDER, CACHE))


def _open(folder: Path) -> DatasetEditor:
    return DatasetEditor([folder / "set"], folder / CACHE)


def _draw(folder: Path) -> None:
    """As `lib_lora.jobs.picture_job` does."""
    host: Any = Painter()
    for _ in generate_dataset(host, SPEC, folder / "made"):
        pass
    for _ in sift(folder / "made", folder / CACHE):
        pass


def _drawn(folder: Path) -> None:
    _draw(folder)


def _answered(folder: Path) -> None:
    _draw(folder)
    for picture, keep in (("0001", True), ("0002", True), ("0003", False)):
        Choice.load(folder / "made").answered(picture, keep).save(folder / "made")


def _answer(folder: Path) -> None:
    Choice.load(folder / "made").answered("0003", True).save(folder / "made")


def _undo(folder: Path) -> None:
    Choice.load(folder / "made").undone().save(folder / "made")


def _grid(folder: Path) -> None:
    """Two columns of two rows."""
    cells: list[dict[str, object]] = []
    (folder / "grid").mkdir()
    for number, colour in enumerate(("red", "green", "blue", "white")):
        Image.new("RGB", (SIDE, SIDE), colour).save(folder / "grid" / f"{number}.png")
        about = {"file": "AB"[number % 2], "weight": 1, "blocks": "", "seed": number // 2}
        cells.append({**about, "image": f"{number}.png", "prompt": f"1girl, {number // 2}"})
    table = {"title": "", "columns": ["A", "B"], "rows": ["1", "2"], "cells": [[0, 1], [2, 3]]}
    found = {"settings": {"width": SIDE, "height": SIDE}, "columns": "file", "rows": "seed", "files": [],
             "cells": cells, "tables": [table]}  # fmt: skip
    (folder / "grid" / RECORD).write_text(json.dumps(found), encoding="utf-8")


def _pairs(folder: Path) -> None:
    GridColumns(folder / "grid", "A", "B").write(folder / "slider")
