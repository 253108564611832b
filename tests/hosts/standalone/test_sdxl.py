"""SDXL from a single file: names against diffusers' own converter, the text encoders, sizes, training and pictures."""

from __future__ import annotations

import pytest
import torch
from diffusers import UNet2DConditionModel
from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint, convert_open_clip_checkpoint
from safetensors.torch import save_file

from lib_lora.errors import UserError
from lib_lora.hosts.sdxl import size_embedding
from lib_lora.hosts.standalone import checkpoint as loading
from lib_lora.hosts.standalone.checkpoint import load_checkpoint
from lib_lora.hosts.standalone.host import StandaloneHost
from lib_lora.hosts.standalone.sdxl_parts import CLIP_G
from lib_lora.models.base import GenerationRequest, HostPaths
from tests.hosts.sdxl import check_gradients_reach_every_layer, check_sizes_are_pixels, check_training_tells_sizes
from tests.hosts.standalone.xl import random_xl_checkpoint, random_xl_tensors


@pytest.fixture(scope="module")
def tensors():
    return random_xl_tensors()


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return random_xl_checkpoint(tmp_path_factory.mktemp("xl") / "narrow.safetensors")


@pytest.fixture
def model(checkpoint):
    model = load_checkpoint(checkpoint)
    for module in model.modules.values():
        module.requires_grad_(False)
    return model


def test_the_unet_is_the_one_that_diffusers_makes_of_the_file(model, tensors):
    config = {**model.unet.config, "class_embed_type": None, "addition_embed_type": "text_time",
              "addition_time_embed_dim": 256}  # fmt: skip
    theirs = UNet2DConditionModel(**{k: v for k, v in config.items() if not k.startswith("_")})
    converted = convert_ldm_unet_checkpoint(dict(tensors), {**config, "use_linear_projection": True})
    missing, unexpected = theirs.load_state_dict(converted, strict=False)
    assert not missing and not unexpected
    generator = torch.Generator().manual_seed(0)
    x, t = torch.randn(2, 4, 8, 12, generator=generator), torch.tensor([10, 900])
    context, pooled = torch.randn(2, 77, 192, generator=generator), torch.randn(2, 96, generator=generator)
    sizes = torch.tensor([[64, 96, 0, 0, 64, 96], [640, 960, 8, 0, 64, 96]])
    cond = torch.cat([context, pooled[:, None].expand(-1, 77, -1)], dim=-1)
    with torch.no_grad():
        added = {"text_embeds": pooled, "time_ids": sizes}
        wanted = theirs(x, t, encoder_hidden_states=context, added_cond_kwargs=added).sample
        torch.testing.assert_close(model.predict(x, t, cond, sizes), wanted)
    assert size_embedding(sizes).shape == (2, 1536)


def test_the_second_text_encoder_is_the_one_that_diffusers_makes_of_the_file(model, tensors):
    encoder = model.text_encoder["clip_g"]
    converted = convert_open_clip_checkpoint(encoder, dict(tensors), prefix=CLIP_G)
    ours = encoder.state_dict()
    same = {key: key.removeprefix("text_model.") for key in converted if "position_ids" not in key}
    assert len(same) == len([key for key in ours if "position_ids" not in key])
    for theirs, bare in same.items():
        assert torch.equal(ours.get(theirs, ours.get(bare)), converted[theirs]), theirs


def test_the_conditioning_has_penultimate_states_and_the_pooled_vector(model):
    with torch.no_grad():
        cond = model.encode_text(["a hat", ", ".join(["red hat"] * 40)])
        tokens = model.tokens("a hat")
        ids = torch.tensor([[49406, *tokens, 49407, *[0] * (75 - len(tokens))]])
        output = model.text_encoder["clip_g"](input_ids=ids, output_hidden_states=True)
    assert cond.shape == (2, 154, 64 + 128 + 96)
    torch.testing.assert_close(cond[0, :77, 64:192], output.hidden_states[-2][0])
    torch.testing.assert_close(cond[0, 100, 192:], output.text_embeds[0])
    with pytest.raises(UserError, match="not there for SDXL"):
        model.encode_text(["a hat"], weighted=True)


def test_memory_is_saved_by_sdxls_names_of_blocks(model):
    x, t = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0)), torch.tensor([500])
    outer = model.unet.down_blocks[0].resnets[0]
    with torch.no_grad():
        cond = model.encode_text(["a hat"])
        plain = model.predict(x, t, cond)
        with model.stored("fp8"):
            rounded = model.predict(x, t, cond)
        assert torch.equal(model.predict(x, t, cond), plain) and not torch.equal(rounded, plain)
    assert (rounded - plain).norm() < 0.2 * plain.norm()
    for blocks, expected in ((["IN01"], True), (["IN04"], False)):
        model.gradient_checkpointing(True, blocks)
        assert ("forward" in vars(outer)) is expected


def test_sizes_are_pixels_and_default_to_the_picture_itself(model, monkeypatch):
    check_sizes_are_pixels(model)
    check_training_tells_sizes(model, monkeypatch)


def test_gradients_reach_every_layer_on_offer(model):
    names = check_gradients_reach_every_layer(model)
    assert "lora_unet_input_blocks_4_1_transformer_blocks_1_attn2_to_k" in names
    assert "lora_te2_text_model_encoder_layers_0_self_attn_q_proj" in names
    assert not any("projection" in name for name in names)


def test_files_say_that_they_predict_v_without_any_signal_at_the_end(tmp_path):
    flags = {"v_pred": torch.zeros(0), "ztsnr": torch.zeros(0)}
    model = load_checkpoint(random_xl_checkpoint(tmp_path / "v.safetensors", **flags))
    assert model.prediction == "v" and model.schedule.snr(torch.tensor([999])).item() < 1e-6
    assert model.schedule.zero_terminal


def test_the_refiner_is_refused_by_name(tensors, tmp_path):
    from safetensors.torch import save_file

    save_file({k: t.contiguous() for k, t in tensors.items() if "embedders.0." not in k}, tmp_path / "r.safetensors")
    with pytest.raises(UserError, match="refiner"):
        load_checkpoint(tmp_path / "r.safetensors")


def test_it_makes_pictures_and_says_what_it_is(checkpoint, tmp_path):
    host = StandaloneHost(HostPaths(tmp_path, checkpoint.parent, tmp_path, tmp_path))
    host.load("narrow")
    assert (host.info().family, host.info().max_clip_skip) == ("sdxl", 1)
    request = GenerationRequest("a hat", width=64, height=64, steps=2, seed=3)
    first, again = host.generate([request, request])
    assert first.size == (64, 64) and first.tobytes() == again.tobytes()


def test_no_weight_is_made_before_it_is_read(tensors, tmp_path, monkeypatch):
    """So loading takes the memory of the file, not twice as much: 1.03 × of a file of 200 MB in half precision."""
    half = {key: t.half() for key, t in tensors.items()}
    save_file(half, tmp_path / "half.safetensors")
    found, fill = set(), loading._fill

    def looked_at(module, *args):
        found.update(p.device.type for p in module.parameters())
        fill(module, *args)

    monkeypatch.setattr(loading, "_fill", looked_at)
    model = load_checkpoint(tmp_path / "half.safetensors", dtype=torch.float16)
    assert found == {"meta"} and {p.device.type for p in model.unet.parameters()} == {"cpu"}
    assert {p.dtype for p in model.unet.parameters()} == {torch.float16}
