"""SDXL in A1111: two text encoders, the pooled vector, sizes in pixels, and gradients for every layer on offer."""

from __future__ import annotations

import pytest
import torch

from lib_lora.adapters.network import Network, NetworkSpec
from lib_lora.errors import UserError
from lib_lora.training.config import TrainConfig
from lib_lora.training.denoiser import Denoiser

LONG = ", ".join(["red hat"] * 40)
T = torch.tensor([500])


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
    x = torch.randn(1, 4, 8, 12, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        cond = model.encode_text(["a hat"])
        plain = model.predict(x, T, cond)
        own = model.predict(x, T, cond, torch.tensor([[64, 96, 0, 0, 64, 96]]))
        cropped = model.predict(x, T, cond, torch.tensor([[640, 960, 0, 16, 64, 96]]))
    assert torch.equal(plain, own)
    assert not torch.allclose(plain, cropped, atol=1e-5)


def test_the_training_tells_the_sizes(model, monkeypatch):
    told = []
    predict = model.predict
    monkeypatch.setattr(model, "predict", lambda x, t, cond, sizes: told.append(sizes) or predict(x, t, cond, sizes))
    sizes = torch.tensor([[640, 480, 8, 0, 64, 64]])
    x = torch.randn(1, 4, 8, 8)
    with torch.no_grad():
        Denoiser(model, TrainConfig(name="a")).loss(x, ["a hat"], torch.randn_like(x), T, sizes=sizes)
    assert told == [sizes]


def test_gradients_reach_every_layer_on_offer(model):
    layers = model.layers()
    network = Network.create(layers, NetworkSpec(rank=2, alpha=2, conv_rank=2), seed=0)
    generator = torch.Generator().manual_seed(1)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, 0, 0.2, generator=generator)
    kinds = {key.split("_")[1] for key in network.adapters}
    assert kinds == {"unet", "te1", "te2"}
    assert "lora_unet_input_blocks_2_1_transformer_blocks_0_attn1_to_q" not in layers
    with network.attached_to(layers):
        cond = model.encode_text(["a hat"])
        model.predict(torch.randn(1, 4, 8, 8), T, cond).square().mean().backward()
    dead = [
        key for key, a in network.adapters.items() if any(p.grad is None or not p.grad.any() for p in a.parameters())
    ]
    assert not [key for key in dead if "layers_1_" not in key]  # the last layer of a text encoder is not used


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
