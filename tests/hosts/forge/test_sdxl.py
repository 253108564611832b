"""SDXL in Forge: both text encoders with all their layers, the pooled vector, sizes in pixels."""

from __future__ import annotations

import pytest
import torch

from lib_lora.errors import UserError
from tests.hosts.sdxl import check_gradients_reach_every_layer, check_sizes_are_pixels, check_training_tells_sizes


@pytest.fixture
def engine(webui):
    import forge_xl_double
    from modules import sd_models

    with torch.random.fork_rng():
        torch.manual_seed(0)
        engine = forge_xl_double.StableDiffusionXL(next(iter(sd_models.checkpoints_list.values())))
    sd_models.model_data.sd_model = engine
    sd_models.model_data.forge_hash = str(sd_models.model_data.forge_loading_parameters)
    return engine


@pytest.fixture
def model(webui, engine):
    with webui.host.training_session() as model:
        yield model


def test_the_prediction_is_what_the_web_ui_makes(model, engine):
    x, t = torch.randn(1, 4, 8, 12, generator=torch.Generator().manual_seed(0)), torch.tensor([500.0])
    with torch.no_grad():
        cond = model.encode_text(["a red hat"])
        wanted = engine.get_learned_conditioning(["a red hat"], 64, 96)
        theirs = model.unet(x, t, context=wanted["crossattn"], y=wanted["vector"], transformer_options={})
        ours = model.predict(x, t, cond)
    assert cond.shape == (1, 77, 32 + 64 + 64)
    torch.testing.assert_close(cond[..., :96], wanted["crossattn"])
    torch.testing.assert_close(ours, theirs)


def test_text_may_be_encoded_elsewhere_than_the_unet_computes(model, engine, monkeypatch):
    """On cards of little memory; here the U-Net is said to be where the tokens cannot be."""
    with torch.no_grad():
        wanted = model.encode_text(["a red hat"])
        monkeypatch.setattr(engine.forge_objects_original.unet, "load_device", torch.device("meta"))
        assert model.device.type == "meta" and torch.equal(model.encode_text(["a red hat"]), wanted)


def test_a_long_caption_has_the_first_chunks_pooled_vector(model):
    long = ", ".join(["red hat"] * 40)
    with torch.no_grad():
        cond = model.encode_text(["a hat", long])
    assert cond.shape == (2, 154, 160)
    assert torch.equal(cond[1, 0, 96:], cond[1, 153, 96:]) and not torch.equal(cond[0, 0, 96:], cond[1, 0, 96:])


def test_sizes_are_pixels_and_default_to_the_picture_itself(model):
    check_sizes_are_pixels(model)


def test_the_training_tells_the_sizes(model, monkeypatch):
    check_training_tells_sizes(model, monkeypatch)


def test_gradients_reach_every_layer_on_offer(model):
    names = check_gradients_reach_every_layer(model)
    assert "lora_te2_text_model_encoder_layers_0_self_attn_q_proj" in names
    assert not any("projection" in name for name in names)


def test_latents_are_scaled_as_sdxls(model, engine):
    pixels = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    latents = model.encode_images(pixels)
    with torch.no_grad():
        mean = engine.forge_objects.vae.first_stage_model.encode(pixels).mode()
    torch.testing.assert_close(latents, mean * 0.13025)
    assert model.decode_latents(latents).shape == pixels.shape


def test_the_refiner_is_refused_and_sdxl_has_no_clip_skip(webui, engine):
    assert (webui.host.info().family, webui.host.info().max_clip_skip) == ("sdxl", 1)
    del engine.forge_objects_original.clip.cond_stage_model.clip_l
    with pytest.raises(UserError, match="refiner"), webui.host.training_session():
        pass
