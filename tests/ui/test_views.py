from __future__ import annotations

from pathlib import Path

import pytest

from lib_lora.adapters.merge import Merged, MergeReport
from lib_lora.errors import UserError
from lib_lora.models.base import HostPaths
from lib_lora.ui import html
from lib_lora.ui.actions import safely
from lib_lora.ui.compat import SKIP
from lib_lora.ui.files import Pictures
from lib_lora.ui.grid_view import Chosen, GridView, parse_pick
from lib_lora.ui.merge_report import merge_report
from lib_lora.workbench import EpochFile


@pytest.fixture
def grid(tmp_path: Path) -> GridView:
    folder = tmp_path / "runs" / "one" / "grid"
    (folder / "cells").mkdir(parents=True)
    (folder / "cells" / "a.png").write_bytes(b"x")
    cells = [
        {"file": f"e{epoch}", "weight": weight, "prompt": "<b>", "seed": 1, "image": f"cells/{name}.png"}
        for epoch, weight, name in ((1, 0.5, "a"), (1, 1.0, "b"), (2, 0.5, "c"), (2, 1.0, "d"))
    ]
    document = {
        "files": [{"label": "e1"}, {"label": "e2"}],
        "weights": [0.5, 1.0],
        "prompts": ["<b>"],
        "seeds": [1],
        "settings": {"width": 64, "height": 96},
        "cells": cells,
    }
    epochs = [EpochFile(1, 4, Path("x"), 0.2, 0.3, best=False), EpochFile(2, 8, Path("y"), 0.1, 0.2, best=True)]
    paths = HostPaths(tmp_path / "loras", tmp_path / "models", tmp_path / "runs", tmp_path / "data")
    return GridView(document, folder, epochs, Chosen(1, 0.5), Pictures(paths))


def test_grid_has_pictures_that_are_there_and_places_for_the_others(grid: GridView) -> None:
    shown = grid.render()
    assert shown.count("<img") == 1
    assert shown.count("lw-empty") == 3
    assert "&lt;b&gt;" in shown
    assert "--lw-ratio: 64 / 96" in shown


def test_grid_badges(grid: GridView) -> None:
    shown = grid.render()
    assert shown.index("epoch 1") < shown.index("epoch 2") < shown.index("lowest loss")
    assert shown.count("★") == 1
    assert "<img" in grid.chosen_pictures()


def test_a_click_names_the_cell() -> None:
    assert parse_pick("e12:0.8|1700000000") == Chosen(12, 0.8)


def test_merge_report_names_the_worst_block() -> None:
    layer = "lora_unet_up_blocks_1_attentions_2_proj_in"
    report = MergeReport(
        0.004,
        layer,
        0.011,
        {layer: 0.011, "lora_te_text_model_encoder_layers_0_mlp_fc1": 0.001},
        {layer: [2.0, 1.0, 0.1]},
    )
    shown = merge_report(Merged({layer: {}}, report, 2, {}), 2)
    assert "0.40%" in shown
    assert shown.index("OUT05") < shown.index("1.10%") < shown.index("BASE")
    assert "exact" in merge_report(Merged({layer: {}}, MergeReport(), 24, {}), None)


def test_what_goes_wrong_becomes_a_message(caplog: pytest.LogCaptureFixture) -> None:
    def refuse() -> None:
        raise UserError("No <name>", where="name", fix="Type one")

    def break_down() -> None:
        raise ZeroDivisionError("division by zero")

    message, other = safely(refuse, 1)()
    assert "No &lt;name&gt;" in message
    assert "Type one." in message
    assert other == SKIP
    assert "Unexpected error: division by zero" in safely(break_down, 0)()[0]
    assert "ZeroDivisionError" in caplog.text
    assert safely(lambda: ["", "new"], 1)() == ["", "new"]


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, ""), (4.4, "4 s"), (75, "1 min 15 s"), (1800, "30 min"), (7380, "2 h 03 min")]
)
def test_durations(seconds: float | None, text: str) -> None:
    assert html.duration(seconds) == text
