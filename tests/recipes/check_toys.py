"""What has to be there once the recipes have been followed; it runs in the copy."""

from __future__ import annotations

import inspect
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from lib_lora import training
from lib_lora.errors import UserError
from lib_lora.hosts.detect import web_ui_host
from lib_lora.training.config import TrainConfig, settings
from lib_lora.training.config_file import config_from_toml, config_to_toml
from lib_lora.ui import compat, toy_tab
from lib_lora.ui.app import build_page
from lib_lora.ui.files import Pictures
from lib_lora.workbench import Workbench


@pytest.fixture
def workbench(tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workbench:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "toy.safetensors").write_bytes(tiny_checkpoint.read_bytes())
    for number in range(2):
        (tmp_path / "set").mkdir(exist_ok=True)
        Image.new("RGB", (64, 64), (90 * number, 80, 70)).save(tmp_path / "set" / f"{number}.png")
        (tmp_path / "set" / f"{number}.txt").write_text("a flower", encoding="utf-8")
    return Workbench(web_ui_host())


def test_the_copy_is_what_runs() -> None:
    assert Path(training.__file__).is_relative_to(Path(__file__).parents[1])


def test_one_line_makes_a_setting(workbench: Workbench, tmp_path: Path) -> None:
    config = TrainConfig(name="rose", data_dir=str(tmp_path / "set"), toy_petals=5)
    assert (
        config_from_toml(config_to_toml(config)) == config
        and settings()["toy_petals"].metadata["label"] == "Toy petals"
    )
    with pytest.raises(UserError, match="petals"):
        replace(config, toy_petals=10).check()
    page = build_page(workbench, Pictures(workbench.host.paths), standalone=True)
    assert "lw_train_toy_petals" in {getattr(block, "elem_id", None) for block in page.blocks.values()}


def test_a_file_and_its_name_in_the_row_make_a_tab(workbench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    page = build_page(workbench, Pictures(workbench.host.paths), standalone=True)
    ids = {getattr(block, "elem_id", None) for block in page.blocks.values()}
    assert {"lw_tab_toy", "lw_toy_more", "lw_toy_count"} <= ids
    assert any("ToyTab.add" in repr(inspect.unwrap(fn)) or "add" in repr(fn) for fn in compat.functions(page))
    monkeypatch.setattr(toy_tab.ToyTab, "add", lambda self: "Added")  # neither looks nor changes
    with pytest.raises(TypeError):
        build_page(workbench, Pictures(workbench.host.paths), standalone=True)


def test_a_folder_and_one_line_of_detection_make_a_host(workbench: Workbench, tmp_path: Path) -> None:
    assert workbench.host.name == "toy" and workbench.host.checkpoints() == ["toy"]
    config = TrainConfig(
        name="rose",
        data_dir=str(tmp_path / "set"),
        model="toy",
        rank=2,
        resolution=64,
        bucket_step=8,
        batch_size=1,
        max_steps=2,
    )
    torch.set_num_threads(1)
    job = workbench.queue.wait(workbench.start_training(config), 240)
    assert job.state == "done", job
    assert (tmp_path / "Lora" / "rose.safetensors").is_file()
