"""Forge from outside: images, choices, a file trained again under its name, a whole run beside the user's images."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from lib_lora.adapters.file import read_lora, write_lora
from lib_lora.demo.architecture import random_checkpoint
from lib_lora.errors import UserError
from lib_lora.models.base import GenerationRequest
from lib_lora.workbench import Workbench
from tests.hosts.standalone.xl import random_xl_checkpoint
from tests.training.worlds import image_folder, small_config

HAT = GenerationRequest("1girl, red hat", "blurry", width=64, height=64, steps=2, seed=5)
WAIT = 400


def test_forge_is_told_by_its_package(webui):
    assert webui.host.name == "forge"


def test_a_model_that_was_only_chosen_is_described_and_loaded_by_the_training(webui):
    assert webui.host.info().name == "tiny.safetensors" and not webui.modules.sd_models.files_read
    with webui.host.training_session() as model:
        assert model.name == "tiny.safetensors"
    assert len(webui.modules.sd_models.files_read) == 1
    webui.modules.sd_models.model_data.forge_loading_parameters = {"checkpoint_info": None}
    assert webui.host.info() is None
    with pytest.raises(UserError, match="No model is chosen"), webui.host.training_session():
        pass


def test_what_a_chosen_model_is_stands_in_its_file(webui, tmp_path: Path):
    """Before it is loaded, so that the page begins with the settings for it."""
    from modules import sd_models

    xl = sd_models.CheckpointInfo(random_xl_checkpoint(tmp_path / "xl.safetensors", v_pred=torch.ones(1)))
    (tmp_path / "old.ckpt").write_bytes(b"PK")
    old, gone = (sd_models.CheckpointInfo(tmp_path / name) for name in ("old.ckpt", "gone.safetensors"))
    for chosen, found in ((xl, ("sdxl", "v")), (old, ("sd1", "epsilon")), (gone, ("sd1", "epsilon"))):
        sd_models.model_data.forge_loading_parameters = {"checkpoint_info": chosen}
        assert (webui.host.info().family, webui.host.info().prediction) == found
    assert not sd_models.files_read


def test_an_image_is_what_the_user_gets(webui):
    assert webui.host.generate([HAT])[0].tobytes() == webui.txt2img()


def test_a_sample_equals_the_saved_file_in_the_prompt(webui, network, lora):
    request = replace(HAT, weights=(0.5,), clip_skip=2)
    image = webui.host.generate([request], [network])[0]
    assert image.info["parameters"].startswith("1girl, red hat <lora:hat:0.5>")
    sample = np.asarray(image).astype(int)
    webui.modules.shared.opts.data["CLIP_stop_at_last_layers"] = 2
    saved = np.frombuffer(webui.txt2img(prompt=f"{HAT.prompt} <lora:hat:0.5>"), np.uint8).reshape(sample.shape)
    plain = np.frombuffer(webui.txt2img(), np.uint8).reshape(sample.shape)
    assert np.abs(sample - saved).max() <= 2 < np.abs(sample - plain).max()  # the text encoder is merged in fp16


def test_a_file_trained_again_under_its_name_is_used(webui, network, lora):
    prompt = f"1girl, red hat {lora}"
    first = webui.txt2img(prompt=prompt)
    with torch.no_grad():
        for parameter in network.parameters("unet"):
            parameter.mul_(-1.2)
    path = webui.host.paths.loras / "hat.safetensors"
    write_lora(path, network.modules(), {}, dtype=torch.float32, overwrite=True)
    assert webui.txt2img(prompt=prompt) == first  # Forge does not look at the file's date
    webui.host.refresh_loras()
    second = webui.txt2img(prompt=prompt)
    assert second != first
    saved = np.frombuffer(second, np.uint8).astype(int)
    sample = np.frombuffer(webui.host.generate([HAT], [network])[0].tobytes(), np.uint8)
    assert np.abs(saved - sample).mean() < 1 < np.abs(np.frombuffer(first, np.uint8) - saved).mean()


def test_loading_leaves_the_users_choice_alone(webui, tmp_path: Path):
    from modules import sd_models

    base = webui.txt2img()
    sd_models.CheckpointInfo(random_checkpoint(tmp_path / "other.safetensors", seed=8)).register()
    chosen = sd_models.model_data.forge_loading_parameters
    webui.host.load("other.safetensors")
    assert webui.host.info().name == "other.safetensors"
    assert webui.host.generate([HAT])[0].tobytes() != base
    assert sd_models.model_data.forge_loading_parameters is chosen and webui.txt2img() == base
    assert webui.host.info().name == "tiny.safetensors"
    with webui.host.training_session(), pytest.raises(UserError, match="being trained"):
        webui.host.load("other.safetensors")


def test_a_checkpoint_that_fails_to_load_leaves_the_web_ui_able_to_load(webui, tmp_path: Path):
    from modules import sd_models

    base = webui.txt2img()
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(b"not a checkpoint")
    sd_models.CheckpointInfo(damaged).register()
    with pytest.raises(UserError):
        webui.host.load("damaged.safetensors")
    assert webui.txt2img() == base


def test_generating_beside_a_training_disturbs_neither(webui, lora, tmp_path: Path):
    bench, folder = Workbench(webui.host), image_folder(tmp_path / "set")
    base, with_lora = webui.txt2img(), webui.txt2img(prompt=f"girl {lora}")
    between = []

    def trained(name: str, beside: bool) -> Path:
        job = bench.start_training(small_config(folder, name=name, epochs=2, fixed_loss_images=0))
        end = time.monotonic() + WAIT
        while bench.queue.view(job).phase != "training" and not bench.queue.view(job).ended:
            assert time.monotonic() < end
            time.sleep(0.005)
        if beside:
            between.extend([webui.txt2img(), webui.txt2img(prompt=f"girl {lora}"), webui.txt2img()])
        view = bench.queue.wait(job, WAIT)
        assert view.state == "done", view.traceback
        return bench.lora_path(name)

    alone, disturbed = read_lora(trained("alone", False)), read_lora(trained("disturbed", True))
    assert between == [base, with_lora, base]
    for key, params in alone.modules.items():
        assert all(tensor.equal(disturbed.modules[key][name]) for name, tensor in params.items())
    assert webui.txt2img() == base
    assert webui.txt2img(prompt="girl <lora:alone:1>") == webui.txt2img(prompt="girl <lora:disturbed:1>")


def test_the_card_is_lent_and_the_picture_stays(webui):
    from backend import memory_management

    base = webui.txt2img()
    assert memory_management.current_loaded_models
    with webui.host.gpu_lock, webui.host.card_lent():
        assert not memory_management.current_loaded_models
    assert webui.txt2img() == base
