"""The form of a slider: what it starts, and which mistakes it names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from PIL import Image

from lib_lora.errors import UserError
from lib_lora.models.base import ModelInfo
from lib_lora.small_files import write_json
from lib_lora.tools.grid import RECORD
from lib_lora.tools.made.drawing import to_be_drawn
from lib_lora.tools.pictures import read_png, save_png
from lib_lora.training.config import TrainConfig
from lib_lora.ui.slider_panel import NO_GRID, SliderPanel
from lib_lora.workbench import Workbench
from tests.ui.bare_host import bare_host

GENERATION = ("", 64, 64, 4, 7.0, "Euler", 1)


@pytest.fixture
def panel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SliderPanel:
    host = bare_host(tmp_path)
    host.info = lambda: ModelInfo("tiny", None, "sd1", "epsilon", 8, 12)
    host.checkpoints = lambda: ["tiny"]
    panel = SliderPanel(Workbench(host))
    monkeypatch.setattr(panel.workbench.queue, "submit", lambda job: job.close() or 1)
    with gr.Blocks():
        panel.build()
    return panel


def train(panel: SliderPanel, **changes: Any) -> TrainConfig:
    fields = {"name": "smile", "more": "smile", "less": "frown", "prompts": "1girl\n1boy, (hat:1.2)", "before": "",
              "after": "", "grid": NO_GRID, "left": None, "right": None,
              "steps": 50, "strength": 1.5, "rank": 4, "count": 6} | changes  # fmt: skip
    assert panel.train(*fields.values(), *GENERATION) == ""  # what is said stands in its progress, and goes with it
    return panel.workbench.runs.named(fields["name"])[0].config()


def test_two_ends_become_a_run_that_draws_its_pictures(panel: SliderPanel) -> None:
    config = train(panel)
    assert (config.slider_more, config.slider_less, config.slider_strength) == ("smile", "frown", 1.5)
    assert (config.max_steps, config.te_lr, config.trigger, config.shuffle) == (50, 0.0, "", False)
    wanted = to_be_drawn(Path(config.data_dir))
    assert wanted is not None and wanted.count == 6 and wanted.prompts == ("1girl", "1boy, hat")
    same = train(panel, name="smile", strength=3.0)
    assert same.data_dir == config.data_dir  # the same pictures again


def test_pairs_become_a_run_on_their_folders(panel: SliderPanel, tmp_path: Path) -> None:
    for name in ("before", "after"):
        (tmp_path / name).mkdir()
        Image.new("RGB", (64, 64)).save(tmp_path / name / "1.png")
    pair = {"before": str(tmp_path / "before"), "after": str(tmp_path / "after"), "more": "", "less": ""}
    config = train(panel, **pair)
    assert (config.data_dir, config.slider_after) == (pair["before"], pair["after"])


def test_two_columns_of_a_grid_become_pairs(panel: SliderPanel) -> None:
    folder = panel.workbench.host.paths.places.grids / "hats"
    cells = []
    for number in range(4):
        save_png(Image.new("RGB", (64, 64), (60 * number, 0, 0)), folder / "cells" / f"{number}.png")
        cells.append({"file": "a", "weight": 1.0, "blocks": "", "prompt": f"1girl, {number // 2}", "seed": 1,
                      "image": f"cells/{number}.png"})  # fmt: skip
    table = {"title": "", "columns": ["e1", "e2"], "rows": ["x", "y"], "cells": [[0, 1], [2, 3]]}
    grid = {"settings": {"width": 64, "height": 64}, "columns": "files", "rows": "prompts", "files": []}
    write_json(folder / RECORD, {**grid, "cells": cells, "tables": [table]})
    _, left, right = panel.columns("Grid hats")
    assert (left["choices"], left["value"], right["value"]) == (["e1", "e2"], "e1", "e2")
    assert "Grid hats" in panel.now(NO_GRID)[0]["choices"]
    config = train(panel, grid="Grid hats", left="e1", right="e2", prompts="")
    before, after = Path(config.data_dir), Path(config.slider_after)
    levels = {f.name: (read_png(f).getpixel((0, 0))[0], read_png(after / f.name).getpixel((0, 0))[0])
              for f in before.glob("*.png")}  # fmt: skip
    assert levels == {"0001.png": (0, 60), "0002.png": (120, 180)} and not config.slider_more
    assert (before / "0002.txt").read_text(encoding="utf-8") == "1girl, 1"
    for columns in (("e1", "e1"), ("e1", "e3"), ("", "e2")):
        with pytest.raises(UserError, match="no pictures side by side"):
            train(panel, name="other", grid="Grid hats", left=columns[0], right=columns[1])


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"name": ""}, "Name of the slider"),
        ({"more": ""}, "More of"),
        ({"prompts": ""}, "Prompts to learn on"),
        ({"before": "x"}, "Pictures after"),
        ({"after": "x"}, "Pictures before"),
        ({"rank": None}, "Slider"),
        ({"rank": 0}, "rank"),
        ({"steps": 0}, "Slider steps"),
        ({"strength": 0}, "slider_strength"),
        ({"count": 0}, "count"),
    ],
)
def test_mistakes_are_named(panel: SliderPanel, changes: dict[str, Any], where: str) -> None:
    with pytest.raises(UserError) as error:
        train(panel, **changes)
    assert error.value.where == where
