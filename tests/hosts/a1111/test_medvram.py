"""``--medvram``: one part of the model at a time is on the GPU, and a training has there what it needs, no more.

Both devices are the CPU here, so the moves are recorded.
"""

from __future__ import annotations

import pytest
import torch

from lib_lora.adapters.file import read_lora
from lib_lora.adapters.network import Network, NetworkSpec
from lib_lora.models.base import GenerationRequest
from lib_lora.workbench import Workbench
from tests.hosts.a1111.test_training import trained
from tests.training.worlds import image_folder

T, X = torch.tensor([500]), torch.zeros(1, 4, 8, 8)
GPU = torch.device("cpu", 0)
ONE_AT_A_TIME = {name: {name} for name in ("te", "unet", "vae")}


class Card:
    """A graphics card: ``here`` are the parts on it, ``used`` those that were there when each part was called."""

    def __init__(self, sd_model):
        self.here, self.used, self.moves = set(), {}, 0
        core = sd_model.cond_stage_model.wrapped
        parts = {"unet": sd_model.model, "te": core, "vae": sd_model.first_stage_model}
        called = {"unet": sd_model.model.diffusion_model, "te": core.transformer, "vae": parts["vae"].decoder}
        for name, module in parts.items():
            module.to = self._recording(name, module.to)
            called[name].register_forward_pre_hook(lambda *_, name=name: self._use(name))

    def _recording(self, name, move):
        def to(device):
            self.moves += 1
            (self.here.add if device is GPU else self.here.discard)(name)
            return move(device)

        return to

    def _use(self, name):
        assert name in self.here
        self.used[name] = set(self.here)


@pytest.fixture
def card(webui, monkeypatch):
    from modules import devices, shared

    monkeypatch.setattr(devices, "device", GPU)
    shared.cmd_opts.medvram = True
    return Card(webui.sd_model)


def test_parts_are_there_when_they_are_needed(webui, card):
    with webui.host.gpu_lock, webui.host.training_session() as model:
        latents = model.encode_images(torch.zeros(1, 3, 64, 64))
        assert card.here == {"vae"}
        with torch.no_grad():
            cond = model.encode_text(["a hat"])
            assert card.here == {"te"}
            model.predict(latents, T, cond)
            assert card.here == {"unet"}
            model.encode_text(["a hat"])
            assert card.here == {"unet", "te"}
            model.predict(latents, T, cond)
            assert card.here == {"unet"}
        moves = card.moves
        for _ in range(2):
            model.predict(latents, T, model.encode_text(["a hat"]))
            assert card.here == {"unet", "te"} and card.moves == moves + 1
        model.decode_latents(latents)
        assert card.here == {"vae"}


def test_adapters_are_made_where_the_weights_will_be(webui, card):
    with webui.host.gpu_lock, webui.host.training_session() as model:
        layers = model.layers()
        assert card.here == {"unet", "te"}
        Network.create(layers, NetworkSpec(rank=2), seed=0)
        model.predict(X, T, torch.zeros(1, 77, 32))
        assert card.here == {"unet"}  # no gradient passes the text encoder


def test_the_web_ui_finds_its_own_order(webui, card):
    from modules import lowvram

    before = {prompt: webui.txt2img(prompt=prompt) for prompt in ("1girl", "red hat")}
    assert card.used == ONE_AT_A_TIME
    with webui.host.training_session() as model:
        for prompt, image in before.items():
            with webui.host.gpu_lock:
                model.predict(X, T, model.encode_text(["a hat"])).sum()
            assert card.here == {"unet", "te"}
            card.used.clear()
            assert webui.txt2img(prompt=prompt) == image
            assert card.used == ONE_AT_A_TIME and card.here == {"vae"}
        with webui.host.gpu_lock:
            model.predict(X, T, model.encode_text(["a hat"])).sum()
        lowvram.send_everything_to_cpu()  # as "Unload checkpoint" does, without the lock
        assert not card.here
        with webui.host.gpu_lock:
            model.encode_text(["a hat"])
            assert card.here == {"te"}
    assert webui.txt2img(prompt="1girl") == before["1girl"] and card.here == {"vae"}


def test_samples_are_made_in_the_web_uis_order(webui, card, network):
    with webui.host.gpu_lock, webui.host.training_session() as model:
        model.predict(X, T, model.encode_text(["a hat"])).sum()
        card.used.clear()
        request = GenerationRequest("1girl", width=64, height=64, steps=1, seed=1, weights=(1.0,))
        webui.host.generate([request], (network,))
        assert card.used == ONE_AT_A_TIME
        model.predict(X, T, model.encode_text(["a hat"])).sum()
        assert card.here == {"unet", "te"}


def test_a_part_that_does_not_fit_leaves_nothing_behind(webui, card):
    before = webui.txt2img()

    def full(device):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(torch.cuda.OutOfMemoryError), webui.host.training_session() as model, webui.host.gpu_lock:
        model.encode_text(["a hat"])
        unet, moving = webui.sd_model.model, webui.sd_model.model.to
        unet.to = full
        try:
            model.predict(X, T, torch.zeros(1, 77, 32))
        finally:
            unet.to = moving
    assert webui.txt2img() == before and card.here == {"vae"}


@pytest.mark.parametrize("option", ["medvram", "lowvram"])
def test_the_file_is_that_of_a_run_with_the_whole_model_on_the_gpu(webui, tmp_path, option):
    from modules import sd_models, shared

    bench, folder = Workbench(webui.host), image_folder(tmp_path / "set")
    whole = read_lora(trained(bench, folder, "whole"))
    sd_models.model_data.sd_model = None  # started again with the option
    setattr(shared.cmd_opts, option, True)
    before, between = webui.txt2img(), []
    saving = read_lora(trained(bench, folder, "saving", lambda: between.append(webui.txt2img())))
    assert between == [before] == [webui.txt2img()]
    for key, params in whole.modules.items():
        assert all(tensor.equal(saving.modules[key][name]) for name, tensor in params.items())
