"""SD2 in A1111: OpenCLIP's text encoder, v-prediction, and what the file says about itself."""

from __future__ import annotations

import pytest
import torch

from lib_lora.adapters.file import read_lora
from lib_lora.adapters.network import Network, NetworkSpec
from lib_lora.workbench import Workbench
from tests.hosts.a1111.test_training import trained
from tests.training.worlds import image_folder

LONG = ", ".join(["red hat"] * 40)


@pytest.fixture
def sd_model(webui):
    from sd2_double import become_sd2

    with torch.random.fork_rng():
        torch.manual_seed(0)
        become_sd2(webui.sd_model, 32)
    return webui.sd_model


@pytest.fixture
def model(webui, sd_model):
    with webui.host.training_session() as model:
        yield model


def test_the_conditioning_is_what_the_web_ui_makes(model, sd_model):
    with torch.no_grad():
        cond = model.encode_text(["a hat", LONG])
        tokens = model.tokens("a hat")
        ids = torch.tensor([[49406, *tokens, 49407, *[0] * (75 - len(tokens))]])
        expected = sd_model.cond_stage_model.encode_with_transformers(ids)
    assert cond.shape == (2, 2 * 77, 32)
    torch.testing.assert_close(cond[0, :77], expected[0])


def test_it_is_v_prediction_and_has_no_clip_skip(webui, model):
    info = webui.host.info()
    assert (info.family, info.prediction, info.max_clip_skip) == ("sd2", "v", 1) == (model.family, model.prediction, 1)
    with torch.no_grad():
        assert torch.equal(model.encode_text(["a hat"], clip_skip=2), model.encode_text(["a hat"]))


def test_gradients_reach_both_parts(model):
    layers = model.layers()
    network = Network.create(layers, NetworkSpec(rank=2, alpha=2), seed=0)
    generator = torch.Generator().manual_seed(1)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, 0, 0.2, generator=generator)
    with network.attached_to(layers):
        x = torch.randn(1, 4, 16, 16, generator=generator)
        model.predict(x, torch.tensor([500]), model.encode_text(["a hat"])).square().mean().backward()
    text = {key for key in network.adapters if key.startswith("lora_te_")}
    assert "lora_te_text_model_encoder_layers_0_self_attn_q_proj" in text and len(text) == 12
    adapters = network.adapters.items()
    dead = {key for key, a in adapters if any(p.grad is None or not p.grad.any() for p in a.parameters())}
    assert dead == {key for key in text if "layers_1_" in key}  # SD2 takes the states before it


def test_the_file_says_that_it_is_for_sd2(webui, sd_model, tmp_path):
    file = read_lora(trained(Workbench(webui.host), image_folder(tmp_path / "set"), "hat"))
    assert file.metadata["ss_v2"] == "True" and file.metadata["ss_base_model_version"] == "sd_v2_v"
    assert file.metadata["modelspec.architecture"] == "stable-diffusion-v2-768-v/lora"
    assert file.modules["lora_te_text_model_encoder_layers_0_self_attn_out_proj"]["lora_up.weight"].any()
