"""The setting *FP8 weight*: the model is trained on as it is held, and every picture stays what it was."""

from __future__ import annotations

import pytest
import torch

from lib_lora.models.weights import FP8
from lib_lora.workbench import Workbench
from tests.hosts.a1111.test_session import gradients
from tests.hosts.a1111.test_training import trained
from tests.training.worlds import image_folder


def turn_on(webui) -> None:
    webui.modules.shared.opts.set("fp8_storage", "Enable")
    webui.modules.sd_models.reload_model_weights(forced_reload=True)


def widen(webui) -> None:
    """The same numbers, as wide as the sum of a product."""
    with torch.no_grad():
        for parameter in webui.sd_model.parameters():
            parameter.data = parameter.data.float()


@pytest.fixture(params=["autocast", "manual cast"])
def fp8(webui, request):
    turn_on(webui)
    webui.modules.devices.no_autocast = request.param == "manual cast"
    return webui


def test_gradients_are_those_of_the_same_numbers_stored_wide(fp8, network):
    image, kinds = fp8.txt2img(), [p.dtype for p in fp8.sd_model.parameters()]
    assert FP8 & set(kinds)
    with fp8.host.training_session() as model, fp8.host.gpu_lock:
        model.gradient_checkpointing(True)
        found = gradients(model, network)
    assert [p.dtype for p in fp8.sd_model.parameters()] == kinds and fp8.txt2img() == image
    widen(fp8)
    with fp8.host.training_session() as model, fp8.host.gpu_lock, fp8.modules.devices.autocast():
        wanted = gradients(model, network)
    assert all(torch.equal(a, b) for a, b in zip(found, wanted, strict=True))
    assert all(gradient.abs().sum() > 0 for gradient in found)


def test_a_run_a_picture_meanwhile_and_a_lora_in_the_prompt(webui, lora, tmp_path):
    turn_on(webui)
    plain, tagged = webui.txt2img(), webui.txt2img(prompt=f"1girl {lora}")
    between = []
    trained(Workbench(webui.host), image_folder(tmp_path / "set"), "mira", lambda: between.append(webui.txt2img()))
    assert [*between, webui.txt2img()] == [plain, plain]
    assert webui.txt2img(prompt=f"1girl {lora}") == tagged != plain
    assert webui.txt2img(prompt="1girl <lora:mira:1>") not in (plain, tagged)
