"""Forge Neo: what it does otherwise than Forge, from a training to a tag, with files in several folders."""

from __future__ import annotations

import functools
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from lib_lora.adapters.file import write_lora
from lib_lora.errors import UserError
from lib_lora.models.base import GenerationRequest
from lib_lora.workbench import Workbench
from tests.hosts.common import drawing, pixels
from tests.training.worlds import image_folder, small_config

HAT = GenerationRequest("1girl, red hat", "blurry", width=64, height=64, steps=2, seed=5)


def test_it_differs_from_forge_as_neo_does(webui):
    """What the host used to trip over."""
    webui.txt2img()
    networks = sys.modules["networks"]
    assert isinstance(networks.load_lora_state_dict, functools.partial)
    assert not hasattr(webui.modules.shared.cmd_opts, "ckpt_dir")
    objects = webui.sd_model.forge_objects_original
    assert not hasattr(objects.unet, "lora_loader") and not hasattr(objects.vae.first_stage_model, "scaling_factor")
    assert all(p.is_inference() or p.data.is_inference() for p in objects.unet.model.parameters())
    assert webui.host.info().family == "sd1"


def test_a_run_beside_the_users_images(webui, tmp_path: Path):
    bench, base = Workbench(webui.host), webui.txt2img()
    job = bench.start_training(
        small_config(image_folder(tmp_path / "set"), name="mira", epochs=2, sample_prompts="1girl", fixed_loss_images=0)
    )
    while bench.queue.view(job).done < 1 and not bench.queue.view(job).ended:
        time.sleep(0.005)
    during = webui.txt2img()
    view = bench.queue.wait(job, 200)
    assert view.state == "done", view.traceback
    assert during == base == webui.txt2img()
    assert bench.lora_path("mira") == webui.host.paths.loras / "mira.safetensors"
    assert webui.txt2img(prompt="1girl, red hat <lora:mira:1>") != base
    assert webui.txt2img() == base


def test_a_sample_equals_the_saved_file_in_the_prompt(webui, network, lora):
    sample = np.asarray(webui.host.generate([replace(HAT, weights=(0.5,))], [network])[0]).astype(int)
    saved = np.frombuffer(webui.txt2img(prompt=f"{HAT.prompt} <lora:hat:0.5>"), np.uint8).reshape(sample.shape)
    plain = np.frombuffer(webui.txt2img(), np.uint8).reshape(sample.shape)
    assert np.abs(sample - saved).max() <= 2 < np.abs(sample - plain).max()


def test_a_file_trained_again_under_its_name_is_used(webui, network, lora):
    prompt = f"1girl, red hat {lora}"
    first = webui.txt2img(prompt=prompt)
    with torch.no_grad():
        for parameter in network.parameters("unet"):
            parameter.mul_(-1.2)
    path = webui.host.paths.loras / "hat.safetensors"
    write_lora(path, network.modules(), {}, dtype=torch.float32, overwrite=True)
    assert webui.txt2img(prompt=prompt) == first
    webui.host.refresh_loras()
    assert webui.txt2img(prompt=prompt) != first


def test_files_of_all_folders_are_listed_and_used(webui, network, second: Path):
    from lib_lora.hosts.webui.xyz_axes import _epochs, _names

    (second / "sub").mkdir()
    file = second / "sub" / "other-000003.SAFETENSORS"
    write_lora(file, network.modules(), {"ss_output_name": "another name"}, dtype=torch.float32)
    bench = Workbench(webui.host)
    assert [entry.name for entry in bench.list_loras()] == ["other-000003"] == _names()
    assert bench.lora_path("other-000003") == bench.lora_path("sub/other-000003") == file and "3" in _epochs()
    base = webui.txt2img()
    webui.host.refresh_loras()
    draw = drawing(webui)
    plain, ours = draw("1girl <lora:other-000003:1>"), draw("1girl <lora:other-000003:1@0>")
    assert (pixels(plain) - pixels(ours)).abs().max() <= 1 < (pixels(plain) - pixels(draw("1girl "))).abs().max()
    assert draw("1girl <lora:another name:1@0>") == ours  # the name that the file carries
    assert webui.txt2img() == base


def test_a_new_file_never_shares_its_name_with_one_of_another_folder(webui, network, second: Path, tmp_path: Path):
    write_lora(second / "mira.safetensors", network.modules(), {}, dtype=torch.float32)
    bench = Workbench(webui.host)
    with pytest.raises(UserError, match="exists already"):
        bench.start_training(small_config(image_folder(tmp_path / "set"), name="mira"))
    assert bench.free_name("mira") == "mira-2"


def test_a_list_that_fails_is_told_and_the_new_file_is_used_anyway(webui, network, lora, monkeypatch, caplog):
    def fails() -> None:
        raise OSError("a file is locked")

    webui.txt2img(prompt=f"1girl {lora}")
    monkeypatch.setattr(sys.modules["networks"], "list_available_networks", fails)
    with pytest.raises(UserError, match="a file is locked") as told:
        webui.host.refresh_loras()
    assert "refresh button" in told.value.fix and "a file is locked" in caplog.text
    assert webui.sd_model.current_lora_hash == ""  # so that the weights are merged again


def test_without_its_lora_extension(webui, monkeypatch):
    monkeypatch.delitem(sys.modules, "networks")
    webui.host.refresh_loras()
    assert webui.host.info() is not None
