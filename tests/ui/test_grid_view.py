from __future__ import annotations

from pathlib import Path

import pytest

from lib_lora.models.base import HostPaths
from lib_lora.tools.likeness import FileLikeness
from lib_lora.tools.picks import Pick, Picks
from lib_lora.ui.files import Pictures
from lib_lora.ui.grid_view import GridView, badges, parse_pick
from lib_lora.workbench import EpochFile
from tests.pace import within

EPOCHS = [
    EpochFile(1, 4, Path("x"), 0.2, 0.3, best=False),
    EpochFile(2, 8, Path("y"), 0.1, 0.2, best=True),
    EpochFile(3, 9, Path("z"), 0.1, 0.21, best=False),
]


@pytest.fixture
def grid(tmp_path: Path) -> GridView:
    folder = tmp_path / "runs" / "one" / "grid"
    (folder / "cells").mkdir(parents=True)
    (folder / "cells" / "a.png").write_bytes(b"x")
    cells = [
        {"file": f"e{epoch}", "weight": weight, "prompt": "<b>", "seed": 1, "blocks": "", "image": f"cells/{name}.png"}
        for epoch, weight, name in ((1, 0.5, "a"), (1, 1.0, "b"), (2, 0.5, "c"), (2, 1.0, "d"))
    ]
    table = {"title": "<b>  (seed 1)", "columns": ["e1", "e2"], "rows": ["1", "0.5"], "cells": [[1, 3], [0, 2]]}
    document = {
        "columns": "file",
        "rows": "weight",
        "settings": {"width": 64, "height": 96},
        "cells": cells,
        "tables": [table],
    }
    paths = HostPaths(tmp_path / "loras", tmp_path / "models", tmp_path / "runs", tmp_path / "data")
    picks = Picks((Pick("e1", 0.5), Pick("e2", 1.0)), Pick("e1", 0.5))
    return GridView(document, folder, badges(EPOCHS[:2], {}), picks, Pictures(paths))


def test_grid_has_pictures_that_are_there_and_places_for_the_others(grid: GridView) -> None:
    shown = grid.render()
    assert shown.count("<img") == 1
    assert shown.count("lw-empty") == 3
    assert "&lt;b&gt;" in shown
    assert "--lw-ratio: 64 / 96" in shown
    assert shown.index("epoch 1") < shown.index("epoch 2") < shown.index("lowest loss")


def test_four_hundred_cells_are_drawn_in_a_moment(grid: GridView) -> None:
    side = 20
    names = [f"e{number}" for number in range(side)]
    cell = grid.grid["cells"][0]
    grid.grid["cells"] = [{**cell, "file": names[n % side], "weight": n // side} for n in range(side**2)]
    numbers = [list(range(row * side, (row + 1) * side)) for row in range(side)]
    grid.grid["tables"] = [{"title": "x", "columns": names, "rows": [str(n) for n in range(side)], "cells": numbers}]
    with within(2):
        shown = grid.render()
    assert shown.count("<img") == side**2 and len(shown) < 1000 * side**2


def test_the_contact_sheet_is_offered_once_the_grid_is_whole(grid: GridView) -> None:
    (grid.folder / "grid.png").write_bytes(b"x")
    assert "Contact sheet" not in grid.render()
    for name in "bcd":
        (grid.folder / "cells" / f"{name}.png").write_bytes(b"x")
    assert "/runs/one/grid/grid.png?v=" in grid.render()


def test_what_is_to_be_known_of_the_files_is_below(grid: GridView) -> None:
    grid.grid["remarks"] = ["e1: 2 layers have <no> place in SDXL"]
    assert grid.render().endswith("e1: 2 layers have &lt;no&gt; place in SDXL</div>")


def test_the_chosen_cell_and_the_starred_ones(grid: GridView) -> None:
    shown = grid.render()
    assert shown.count("lw-chosen") == shown.count(">chosen<") == 1
    assert shown.count("★") == 1
    assert grid.starred().count("<img") == 1, "a starred cell without a picture is not shown"
    assert grid.pictures_of(Pick("e1", 0.5)).count("<img") == 1
    assert grid.pictures_of(Pick("e2", 0.5)) == ""


def test_badges_are_hints_with_a_reason() -> None:
    likeness = {"e1": FileLikeness(0.4, 0.0), "e2": FileLikeness(0.7, 0.1), "e3": FileLikeness(0.6, 0.75)}
    found = {label: [badge.text for badge in shown] for label, shown in badges(EPOCHS, likeness).items()}
    assert found == {"e2": ["● lowest loss", "◆ most like the set"], "e3": ["⚠ loss rises", "⚠ maybe over-fit"]}
    assert "75%" in badges(EPOCHS, likeness)["e3"][1].why
    assert badges(EPOCHS[:1], {"e1": FileLikeness(0.4, 0.0)}) == {}, "one file is not more than another"


def test_a_click_names_the_cell() -> None:
    assert parse_pick("e12:0.8:|1700000000") == Pick("e12", 0.8)
    assert parse_pick("a:b:1.0:GP1|1700000000") == Pick("a:b", 1.0, "GP1")
