"""SDXL in A1111: two text encoders, the pooled vector, sizes in pixels, and gradients for every layer on offer."""

from __future__ import annotations

import pytest
import torch

from lib_lora.errors import UserError
from tests.hosts.sdxl import check_gradients_reach_every_layer, check_sizes_are_pixels, check_training_tells_sizes

LONG = ", ".join(["red hat"] * 40)


@pytest.fixture
def engine(webui):
    import sgm_double
    from modules import sd_hijack, sd_models

    info = next(iter(sd_models.checkpoints_list.values()))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        engine = sd_models.model_data.sd_model = sgm_double.DiffusionEngine(info).eval()
    sd_hijack.model_hijack.layers = list(engine.modules())
    return engine


@pytest.fixture
def model(webui, engine):
    with webui.host.training_session() as model:
        yield model


def test_the_conditioning_is_what_the_web_ui_makes(model, engine):
    with torch.no_grad():
        cond = model.encode_text(["a hat", LONG])
        first, second = engine.conditioner.embedders[:2]
        tokens = model.tokens("a hat")
        ends = [49407] * (77 - len(tokens) - 1)
        clip_ids = torch.tensor([[49406, *tokens, *ends]])
        open_ids = torch.tensor([[49406, *tokens, 49407, *[0] * (len(ends) - 1)]])
        z, g = first.encode_with_transformers(clip_ids), second.encode_with_transformers(open_ids)
    assert cond.shape == (2, 2 * 77, 32 + 64 + 48)
    torch.testing.assert_close(cond[0, :77, :32], z[0])
    torch.testing.assert_close(cond[0, :77, 32:96], g[0])
    torch.testing.assert_close(cond[0, :, 96:], g.pooled.expand(154, -1))
    assert not torch.equal(cond[0, 0, 96:], cond[1, 0, 96:])


def test_sizes_are_pixels_and_default_to_the_picture_itself(model):
    check_sizes_are_pixels(model)


def test_the_training_tells_the_sizes(model, monkeypatch):
    check_training_tells_sizes(model, monkeypatch)


def test_gradients_reach_every_layer_on_offer(model):
    names = check_gradients_reach_every_layer(model)
    assert "lora_unet_input_blocks_2_1_transformer_blocks_0_attn1_to_q" not in names
    layer = "lora_te2_text_model_encoder_layers_1_"
    expected = {f"self_attn_{x}_proj" for x in ("q", "k", "v", "out")} | {"mlp_fc1", "mlp_fc2"}
    assert {name.removeprefix(layer) for name in names if name.startswith(layer)} == expected


def test_latents_are_the_mean_and_scaled(model, engine):
    pixels = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    latents = model.encode_images(pixels)
    assert torch.equal(latents, model.encode_images(pixels))
    with torch.no_grad():
        mean = engine.first_stage_model.encode(pixels).mode()
    torch.testing.assert_close(latents, mean * 0.13025)
    assert model.decode_latents(latents).shape == pixels.shape


def test_the_refiner_is_refused_and_sdxl_has_no_clip_skip(webui, engine):
    assert (webui.host.info().family, webui.host.info().max_clip_skip) == ("sdxl", 1)
    engine.conditioner.embedders = engine.conditioner.embedders[1:]
    with pytest.raises(UserError, match="refiner"), webui.host.training_session():
        pass
