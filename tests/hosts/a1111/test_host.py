"""Images through the web UI's processing, its lists and its folders."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lib_lora.errors import Cancelled, UserError
from lib_lora.models.base import GenerationRequest

HAT = GenerationRequest("1girl, (red hat)", "blurry", width=64, height=64, steps=2, seed=5)


def test_an_image_is_what_the_user_gets(webui):
    assert webui.host.generate([HAT])[0].tobytes() == webui.txt2img()


def test_a_sample_equals_the_saved_file_in_the_prompt(webui, network, lora):
    for weight in (0.5, 1.0):
        request = replace(HAT, weights=(weight,))
        sample = np.asarray(webui.host.generate([request], [network])[0]).astype(int)
        tag = lora.replace(":1>", f":{weight}>")
        saved = np.frombuffer(webui.txt2img(prompt=f"{HAT.prompt} {tag}"), np.uint8).reshape(sample.shape)
        assert np.abs(sample - saved).max() <= 1
        plain = np.frombuffer(webui.txt2img(), np.uint8).reshape(sample.shape)
        assert np.abs(sample - plain).max() > 1


def test_each_request_has_its_own_weight_and_nothing_stays(webui, network):
    before, base = webui.flags(), webui.txt2img()
    seen = []
    requests = [replace(HAT, weights=(w,)) for w in (0.0, 0.5, 1.0)]
    images = webui.host.generate(requests, [network], on_image=lambda i, image: seen.append((i, image.size)))
    assert seen == [(i, (64, 64)) for i in range(3)]
    assert images[0].tobytes() == base and len({image.tobytes() for image in images}) == 3
    assert network.multiplier == 1.0 and webui.txt2img() == base and webui.flags() == before


def test_parameters_lead_back_to_the_image(webui, network):
    request = replace(HAT, sampler="DPM++ 2M Karras", clip_skip=2, weights=(0.75,))
    prompt, negative, settings = webui.host.generate([request], [network])[0].info["parameters"].split("\n")
    assert prompt == "1girl, (red hat) <lora:hat:0.75>" and negative == "Negative prompt: blurry"
    assert "Sampler: DPM++ 2M, Schedule type: Karras" in settings and "Clip skip: 2" in settings


def test_settings_and_history_of_the_user_stay(webui, network):
    from modules import shared

    webui.txt2img(prompt="mine")
    options, history = dict(shared.opts.data), (webui.data / "params.txt").read_text(encoding="utf-8")
    webui.host.generate([replace(HAT, clip_skip=2)], [network])
    assert shared.opts.data == options  # clip skip had never been set
    assert shared.opts.CLIP_stop_at_last_layers == 1
    assert (webui.data / "params.txt").read_text(encoding="utf-8") == history
    assert shared.state.job == "" and not shared.cmd_opts.no_prompt_history


def test_locked_settings_are_no_obstacle(webui):
    from modules import shared

    shared.opts.sd_model_checkpoint = webui.sd_model.sd_checkpoint_info.title
    shared.cmd_opts.freeze_settings = True
    assert webui.host.generate([HAT])[0].size == (64, 64)


def test_cancelling_and_interrupting_leave_nothing_behind(webui, network):
    from modules import shared

    before, base, asked = webui.flags(), webui.txt2img(), []

    def cancelled() -> bool:
        asked.append(True)
        return len(asked) == 2

    with pytest.raises(Cancelled):
        webui.host.generate([HAT], [network], cancelled=cancelled)
    with pytest.raises(Cancelled):
        webui.host.generate([HAT], [network], cancelled=lambda: bool(shared.state.interrupt()))
    assert webui.flags() == before and shared.state.job == "" and webui.txt2img() == base


def test_impossible_requests_are_explained(webui, network):
    with pytest.raises(UserError, match="multiples of 8"):
        webui.host.generate([replace(HAT, width=30)])
    with pytest.raises(ValueError, match="2 weights for 1 networks"):
        webui.host.generate([replace(HAT, weights=(1.0, 2.0))], [network])


def test_lists_and_folders_are_the_web_uis(webui):
    host = webui.host
    assert host.checkpoints() == ["tiny.safetensors"] and host.info() is None
    assert host.samplers()[0] == "DPM++ 2M"
    assert host.paths.loras == webui.data / "models" / "Lora"
    assert host.paths.runs.is_relative_to(webui.data)
    host.load("tiny.safetensors")
    assert (host.info().family, host.info().name, host.info().max_clip_skip) == ("sd1", "tiny.safetensors", 2)
    assert host.checkpoint_path("tiny.safetensors") == host.info().path
    for ask in (host.load, host.checkpoint_path):
        with pytest.raises(UserError, match="no such checkpoint"):
            ask("absent")


def test_where_no_model_is_loaded_the_web_ui_loads_its_own(webui):
    assert webui.host.info() is None
    assert webui.host.ensure_loaded().name == "tiny.safetensors"
    webui.host.ensure_loaded()
    assert len(webui.modules.sd_models.files_read) == 1


def test_loading_leaves_the_users_choice_alone(webui, tmp_path):
    from modules import sd_models, shared

    from lib_lora.demo.architecture import random_checkpoint

    base = webui.txt2img()
    sd_models.CheckpointInfo(random_checkpoint(tmp_path / "other.safetensors", seed=8)).register()
    chosen = shared.opts.sd_model_checkpoint
    webui.host.load("other.safetensors")
    assert webui.host.info().name == "other.safetensors" and shared.opts.sd_model_checkpoint == chosen
    assert webui.txt2img() == base
    with webui.host.training_session(), pytest.raises(UserError, match="being trained"):
        webui.host.load("other.safetensors")


def test_a_new_file_is_listed_at_once(webui, lora):
    import networks

    webui.host.refresh_loras()
    assert list(networks.available_networks) == ["hat"]


def test_a_caption_becomes_a_prompt_without_weights(webui):
    assert webui.host.literal(r"mira (series), [x] 1\2") == r"mira \(series\), \[x\] 1\\2"


def test_the_card_is_lent_and_the_picture_stays(webui, monkeypatch):
    from modules import sd_models

    base, moved = webui.txt2img(), []
    for name in ("send_model_to_cpu", "send_model_to_device"):
        send = getattr(sd_models, name)
        monkeypatch.setattr(sd_models, name, lambda m, name=name, send=send: moved.append(name) or send(m))
    with pytest.raises(KeyError), webui.host.gpu_lock, webui.host.card_lent():
        assert moved == ["send_model_to_cpu"]
        raise KeyError
    assert moved == ["send_model_to_cpu", "send_model_to_device"] and webui.txt2img() == base
