"""Runs whose base is stored in 8 bits."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from lib_lora.training.config import TrainConfig
from lib_lora.training.events import Finished, StepDone
from lib_lora.training.importers import import_config
from lib_lora.training.importers.export import to_kohya_toml
from lib_lora.training.memory import estimate
from lib_lora.training.probe import probe
from lib_lora.training.run_store import RunStore
from lib_lora.training.trainer import Trainer
from tests.training.worlds import image_folder, small_config

CONFIG = TrainConfig(name="x", data_dir="y", rank=2, batch_size=1, resolution=64, max_tokens=75)


@pytest.mark.parametrize("precision", ["as loaded", "bf16"])
def test_a_run_learns_nearly_the_same_and_gives_the_weights_back(tiny_host, tmp_path, precision):
    torch.set_num_threads(1)
    store, images = RunStore(tiny_host.paths.runs), image_folder(tmp_path / "set")
    losses = {}
    with tiny_host.training_session() as model:
        before = {key: layer.weight.clone() for key, layer in model.layers().items()}
        for fp8 in (False, True):
            config = small_config(images, name=f"fp8{fp8}", epochs=1, fp8_base=fp8, precision=precision,
                                  gradient_checkpointing=fp8, fixed_loss_images=0)  # fmt: skip
            events = list(Trainer(store.create(config), model, tiny_host.paths).run())
            assert isinstance(events[-1], Finished)
            losses[fp8] = [event.loss for event in events if isinstance(event, StepDone)]
        assert all(torch.equal(layer.weight, before[key]) for key, layer in model.layers().items())
    assert losses[True] == pytest.approx(losses[False], rel=0.05) and losses[True] != losses[False]


def test_a_run_that_is_broken_off_gives_the_weights_back(tiny_host, tmp_path):
    config = small_config(image_folder(tmp_path / "set"), fp8_base=True, fixed_loss_images=0)
    with tiny_host.training_session() as model:
        before = {key: layer.weight.clone() for key, layer in model.layers().items()}
        events = Trainer(RunStore(tiny_host.paths.runs).create(config), model, tiny_host.paths).run()
        next(event for event in events if isinstance(event, StepDone))
        assert torch.float8_e4m3fn in {layer.weight.dtype for layer in model.layers("unet").values()}
        events.close()
        assert all(torch.equal(layer.weight, before[key]) for key, layer in model.layers().items())


def test_the_estimate_of_memory_knows_it(tiny_host):
    with tiny_host.training_session() as model:
        unet = sum(layer.weight.numel() for layer in model.layers("unet").values() if layer.weight.ndim > 1)
        plain, eight = (probe(model, replace(CONFIG, fp8_base=on), (64, 64)) for on in (False, True))
        assert not plain.base and "fp8" in eight.base
        assert plain.model_bytes - eight.model_bytes == 3 * unet  # the base is in float32
        assert eight.bytes - eight.model_bytes <= plain.bytes - plain.model_bytes
        sizes = [estimate(model, replace(CONFIG, fp8_base=on), (64, 64)) for on in (False, True)]
        assert sizes[0] - sizes[1] >= 3 * unet


def test_kohyas_options_select_it(tmp_path):
    for text, wanted in (("fp8_base = true", True), ("fp8_base_unet = true", True), ("fp8_base = false", False)):
        (tmp_path / "kohya.toml").write_text(f"{text}\nnetwork_dim = 4\n", encoding="utf-8")
        imported = import_config(tmp_path / "kohya.toml")
        assert imported.applied_to(CONFIG).fp8_base is wanted and len(imported.lines) == 2
    assert "fp8_base = true" in to_kohya_toml(replace(CONFIG, fp8_base=True))
