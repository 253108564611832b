"""The live ldm model gives what the same checkpoint gives in diffusers."""

from __future__ import annotations

import pytest
import torch

from lib_lora.errors import UserError
from lib_lora.hosts.standalone.checkpoint import load_checkpoint

CAPTIONS = ["1girl, (red hat)", ", ".join(["red hat"] * 40)]


@pytest.fixture
def oracle(tiny_checkpoint):
    return load_checkpoint(tiny_checkpoint)


@pytest.fixture
def model(webui):
    with webui.host.training_session() as model:
        yield model


def test_layers_are_live_and_have_the_names_of_lora_files(model, oracle, webui):
    layers = model.layers()
    assert layers.keys() == oracle.layers().keys()
    assert {key: m.weight.shape for key, m in layers.items()} == {k: m.weight.shape for k, m in oracle.layers().items()}
    unet = webui.sd_model.model.diffusion_model
    assert layers["lora_unet_mid_block_attentions_0_proj_in"] is unet.middle_block[1].proj_in
    assert model.layers("te").keys() == oracle.layers("te").keys()


@pytest.mark.parametrize("clip_skip", [1, 2])
def test_captions_are_encoded_literally_in_chunks(model, oracle, clip_skip):
    with torch.no_grad():
        ours = model.encode_text(CAPTIONS, clip_skip=clip_skip)
        torch.testing.assert_close(ours, oracle.encode_text(CAPTIONS, clip_skip=clip_skip), rtol=1e-4, atol=1e-5)
    assert ours.shape == (2, 2 * 77, 32)
    assert [model.token_count(c) for c in CAPTIONS] == [oracle.token_count(c) for c in CAPTIONS]
    assert model.chunk_count(CAPTIONS[1]) == 2


def test_predictions_and_latents_agree(model, oracle):
    generator = torch.Generator().manual_seed(0)
    x, pixels = torch.randn(2, 4, 8, 8, generator=generator), torch.rand(1, 3, 64, 64, generator=generator) * 2 - 1
    with torch.no_grad():
        cond, t = oracle.encode_text(CAPTIONS), torch.tensor([3, 900])
        torch.testing.assert_close(model.predict(x, t, cond), oracle.predict(x, t, cond), rtol=1e-3, atol=1e-4)
        latents = oracle.encode_images(pixels)
        torch.testing.assert_close(model.encode_images(pixels), latents, rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(model.decode_latents(latents), oracle.decode_latents(latents), rtol=1e-3, atol=1e-4)


def test_hashes_schedule_and_prediction_are_the_models(model, oracle, webui):
    assert model.hashes()["model"] == oracle.hashes()["model"] and model.prediction == "epsilon"
    before = model.hashes()["vae"]
    with torch.no_grad():
        webui.sd_model.first_stage_model.quant_conv.bias += 1  # the user has chosen another VAE
    webui.modules.sd_models.zero_terminal_snr(webui.sd_model)  # a setting of the user's, not the model's nature
    webui.sd_model.parameterization = "v"
    with webui.host.training_session() as other:
        torch.testing.assert_close(other.schedule.alphas_cumprod, oracle.schedule.alphas_cumprod)
        assert other.hashes()["vae"] != before and other.prediction == "v" == webui.host.info().prediction


def test_the_web_uis_weights_are_not_stored_in_8_bits(model):
    with pytest.raises(UserError, match="as they are loaded"):
        model.stored("fp8")


def test_the_file_is_hashed_where_the_web_ui_does_not(webui, oracle):
    webui.sd_model.sd_checkpoint_info.sha256 = None
    with webui.host.training_session() as model:
        assert model.hashes()["model"] == oracle.hashes()["model"]


def test_a_vae_that_overflows_in_half_precision_is_widened_by_itself(model, webui, monkeypatch):
    vae = webui.sd_model.first_stage_model
    with torch.no_grad():
        vae.quant_conv.weight.fill_(60000)  # fits into half precision; its sums do not
    pixels = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    wanted = model.encode_images(pixels)
    vae.half()
    parameters, casts = list(vae.parameters()), []
    own = type(webui.sd_model).encode_first_stage

    def encode(sd_model, x):  # casts as the web UI does where the U-Net is upcast
        from modules import devices

        casts.append(devices.dtype_vae)
        return own(sd_model, x)

    monkeypatch.setattr(type(webui.sd_model), "encode_first_stage", encode)
    for _ in range(2):
        torch.testing.assert_close(model.encode_images(pixels), wanted, rtol=1e-2, atol=1)
    assert all(a is b for a, b in zip(vae.parameters(), parameters, strict=True))
    assert {p.dtype for p in parameters} == {torch.float16} and len(casts) == 3  # tried in half precision only once
    with torch.no_grad():
        vae.quant_conv.weight.fill_(torch.inf)
    with pytest.raises(UserError, match="NaN"):
        model.encode_images(pixels)
