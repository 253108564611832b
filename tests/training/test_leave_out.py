"""Leaving pictures out of a run: all others are seen exactly as before."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from lib_lora.adapters.file import read_lora
from lib_lora.errors import UserError
from lib_lora.training.data import leaving_out, left_out, usable_scan
from lib_lora.training.run_store import RunStore
from lib_lora.training.trainer import Trainer
from tests.training.worlds import image_folder, small_config


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return image_folder(tmp_path / "set")


def test_a_name_in_the_setting_is_a_picture_below_the_folder(folder: Path) -> None:
    pictures = sorted(folder.rglob("*.png"))
    config = leaving_out(small_config(folder), pictures[:1])
    assert config.leave_out == "2_girl/0.png"
    config = leaving_out(config, [pictures[0], pictures[2]])  # what was left out stays out
    assert config.leave_out == "2_girl/0.png|2_girl/2.png" and left_out(config) == [pictures[0], pictures[2]]
    assert len(usable_scan(config).items) == 3


@pytest.mark.parametrize("name", ["a|b.png", " a.png", "../elsewhere.png"])
def test_what_the_setting_cannot_hold_is_refused(folder: Path, name: str) -> None:
    with pytest.raises(UserError) as caught:
        leaving_out(small_config(folder), [Path(f"{folder}/{name}")])
    assert Path(caught.value.where) == Path(f"{folder}/{name}")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("0.png", "no such picture"),
        ("2_girl/9.png", "no such picture"),
        ("../set/2_girl/0.png", "no such picture"),
        ("2_girl/0.png | 2_girl/1.png|2_girl/2.png", "All pictures"),
    ],
)
def test_what_cannot_be_left_out_is_named(folder: Path, names: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        usable_scan(small_config(folder, leave_out=names))
    assert caught.value.where == "leave_out"


def test_the_rest_is_trained_exactly_as_before(tiny_host, folder: Path) -> None:
    torch.set_num_threads(1)
    store, out = RunStore(tiny_host.paths.runs), folder / "2_girl" / "1.png"

    def trained(config):
        run = store.create(config)
        with tiny_host.training_session() as model:
            list(Trainer(run, model, tiny_host.paths).run())
        return run.metrics(), run.epochs(), read_lora(run.result()["path"]).modules

    usual = small_config(folder, name="all", epochs=2, unet_lr=1e-2, fixed_loss_images=6)
    steps, epochs, _ = trained(usual)
    less = leaving_out(replace(usual, name="less"), [out])
    without, fewer, modules = trained(less)
    assert without[0]["loss"] != steps[0]["loss"] or without[1]["loss"] != steps[1]["loss"]
    assert len(epochs[0]["fixed_losses"]) > len(fewer[0]["fixed_losses"]) > 0
    image = Image.new("RGB", (64, 64), (255, 0, 0))
    image.save(out)  # whatever it shows by now
    again, _, same = trained(replace(less, name="again"))
    assert [step["loss"] for step in again] == [step["loss"] for step in without]
    for key, params in modules.items():
        assert all(torch.equal(tensor, same[key][name]) for name, tensor in params.items())
