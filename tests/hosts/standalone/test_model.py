from __future__ import annotations

from pathlib import Path

import pytest
import torch

from lib_lora.adapters.network import Network, NetworkSpec
from lib_lora.errors import UserError
from lib_lora.hosts.standalone.checkpoint import load_checkpoint
from lib_lora.hosts.standalone.model import StandaloneModel


@pytest.fixture(scope="module")
def model(tiny_checkpoint: Path) -> StandaloneModel:
    return load_checkpoint(tiny_checkpoint)


def test_layers_are_live_and_named_as_kohya_names_them(model):
    layers = model.layers()
    assert layers["lora_unet_mid_block_attentions_0_proj_in"] is model.unet.mid_block.attentions[0].proj_in
    assert "lora_te_text_model_encoder_layers_1_mlp_fc2" in layers
    assert layers.keys() == model.layers("unet").keys() | model.layers("te").keys()
    matrices = {key for key, layer in layers.items() if layer.weight.ndim > 1}
    attention = [key for key in matrices if "_attentions_" in key]
    assert len(attention) == 192 and len(matrices & model.layers("te").keys()) == 2 * 6


def test_norms_can_be_trained(model):
    layers = model.layers()
    network = Network.create(layers, NetworkSpec(rank=1, conv_rank=1, train_norm=True), 0)
    norms = {key: adapter for key, adapter in network.adapters.items() if adapter.algorithm == "norm"}
    # each attention: one GroupNorm and three LayerNorms; each residual block: two; each layer of CLIP: two
    assert len(norms) == 16 * 4 + 22 * 2 + 2 * 2
    assert "lora_te_text_model_encoder_layers_0_layer_norm1" in norms
    noisy, cond = torch.ones(1, 4, 8, 8), torch.ones(1, 77, 32)
    plain = model.predict(noisy, torch.tensor([9]), cond)
    with network.attached_to(layers):
        assert torch.equal(model.predict(noisy, torch.tensor([9]), cond), plain)
        model.predict(noisy, torch.tensor([9]), cond).square().sum().backward()
        norm = norms["lora_unet_mid_block_resnets_0_norm1"]
        assert norm.weight.grad.any() and norm.bias.grad.any()
        norm.weight.data += 0.5
        assert not torch.allclose(model.predict(noisy, torch.tensor([9]), cond), plain)
    assert torch.equal(model.predict(noisy, torch.tensor([9]), cond), plain)


def test_long_captions_give_one_encoding_per_chunk(model):
    long = ", ".join(["red hair"] * 40)
    assert model.encode_text(["a", long]).shape == (2, 2 * 77, 32)
    assert model.encode_text(["a"], min_chunks=3).shape == (1, 3 * 77, 32)
    assert model.encode_text([long], max_tokens=75).shape == (1, 77, 32)
    assert model.token_count("1girl, blue hair") == 5
    assert (model.chunk_count("a"), model.chunk_count(long), model.chunk_count(long * 9)) == (1, 2, 3)


def test_chunks_are_encoded_independently(model):
    long = ", ".join(["red hair"] * 40)
    both = model.encode_text([long, "a"])
    torch.testing.assert_close(both[0, :77], model.encode_text([long], max_tokens=75)[0])
    torch.testing.assert_close(both[1, :77], model.encode_text(["a"])[0])
    torch.testing.assert_close(both[1, 77:], model.encode_text([""])[0])


def test_clip_skip_counts_layers_from_the_end(model):
    text, norm = model.text_encoder, model.text_encoder.get_submodule("final_layer_norm")
    seen = []
    handle = text.get_submodule("encoder.layers.0").register_forward_hook(lambda m, a, out: seen.append(out))
    last, before = model.encode_text(["a hat"]), model.encode_text(["a hat"], clip_skip=2)
    handle.remove()
    hidden = seen[0][0] if isinstance(seen[0], tuple) else seen[0]
    torch.testing.assert_close(before, norm(hidden))
    assert not torch.allclose(last, before)
    with pytest.raises(UserError, match="clip skip 3"):
        model.encode_text(["a"], clip_skip=3)


def test_images_become_latents_and_back(model):
    pixels = torch.rand(2, 3, 32, 48, generator=torch.Generator().manual_seed(0)) * 2 - 1
    latents = model.encode_images(pixels)
    assert latents.shape == (2, 4, 4, 6) and latents.dtype == torch.float32
    mean = model.vae.encode(pixels).latent_dist.mean.detach()
    torch.testing.assert_close(latents, mean * 0.18215)
    decoded = model.decode_latents(latents)
    assert decoded.shape == pixels.shape and decoded.abs().max() <= 1


def test_nan_of_the_vae_is_an_error(model):
    with pytest.raises(UserError, match="VAE produced NaN"):
        model.decode_latents(torch.full((1, 4, 4, 4), float("nan")))


def test_hashes_tell_vaes_apart(model, tiny_checkpoint):
    other = load_checkpoint(tiny_checkpoint)
    assert other.hashes() == model.hashes() and len(model.hashes()["model"]) == 64
    changed = load_checkpoint(tiny_checkpoint)
    changed.vae.quant_conv.bias.data[0] += 1
    assert changed.hashes()["vae"] != model.hashes()["vae"]
    assert changed.hashes()["model"] == model.hashes()["model"]


def test_gradient_checkpointing_changes_memory_only(model):
    network = Network.create(model.layers(), NetworkSpec(rank=2, alpha=2), seed=0)
    x = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    runs = {
        "IN01": model.unet.down_blocks[0].resnets[0].conv1,
        "IN04": model.unet.down_blocks[1].attentions[0].transformer_blocks[0].attn1.to_q,
        "BASE": model.text_encoder.encoder.layers[0].mlp.fc1,
    }

    def gradients(on: bool, blocks: tuple[str, ...] = ()) -> tuple[list[torch.Tensor], dict[str, int]]:
        calls = dict.fromkeys(runs, 0)
        counters = [
            module.register_forward_hook(lambda *_, part=part: calls.update({part: calls[part] + 1}))
            for part, module in runs.items()
        ]
        model.gradient_checkpointing(on, blocks)
        with network.attached_to(model.layers()):
            model.predict(x, torch.tensor([500]), model.encode_text(["a hat"])).square().mean().backward()
        model.gradient_checkpointing(False)
        for counter in counters:
            counter.remove()
        found = [p.grad.clone() for p in network.parameters()]
        for p in network.parameters():
            p.grad = None
        return found, calls

    plain, once = gradients(False)
    assert set(once.values()) == {1}
    for blocks, twice in (((), set(runs)), (("IN01", "BASE"), {"IN01", "BASE"}), (("IN04",), {"IN04"})):
        found, calls = gradients(True, blocks)
        assert {name for name, count in calls.items() if count == 2} == twice and set(calls.values()) <= {1, 2}
        assert all(torch.equal(a, b) for a, b in zip(plain, found, strict=True))
    assert not any("forward" in vars(m) for part in model.modules.values() for m in part.modules())


def test_weighted_captions_scale_the_states_of_their_tokens(model):
    plain, weighted = model.encode_text(["red fox"]), model.encode_text(["red (fox:1.5)"], weighted=True)
    ratio = (weighted / plain)[0, :, 0].detach()
    words = len(model.tokens("fox"))
    changed = (ratio - 1.5).abs() < 1e-4
    assert changed.sum() == words and torch.allclose(ratio[~changed], torch.ones(77 - words))
    assert torch.equal(model.encode_text(["red fox"], weighted=True), plain)
    assert not torch.equal(model.encode_text(["red (fox:1.5)"]), plain)


def test_kohyas_layout_leaves_out_the_inner_ends(model):
    long = "red fox " * 60  # no comma, so both layouts cut at the same places
    ours = model.encode_text([long], max_tokens=150)[0].reshape(2, 77, -1)
    kohya = model.encode_text([long], max_tokens=150, kohya_layout=True)
    assert kohya.shape == (1, 152, ours.shape[-1])
    expected = torch.cat([ours[0, :76], ours[1, 1:]])
    assert torch.equal(kohya[0], expected)
    assert model.encode_text(["a"], max_tokens=225, kohya_layout=True).shape[1] == 227
