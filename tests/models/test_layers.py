from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file

from lib_lora.models import layers
from lib_lora.models.layers import CLIP_PREFIX, UNET_PREFIX, VAE_PREFIX
from lib_lora.models.unet import SD

MODULES = [
    ("time_embed.2", "time_embedding.linear_2"),
    ("input_blocks.0.0", "conv_in"),
    ("input_blocks.1.1", "down_blocks.0.attentions.0"),
    (
        "input_blocks.1.1.transformer_blocks.0.attn1.to_q",
        "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q",
    ),
    ("input_blocks.3.0.op", "down_blocks.0.downsamplers.0.conv"),
    ("input_blocks.4.0.skip_connection", "down_blocks.1.resnets.0.conv_shortcut"),
    ("input_blocks.11.0.out_layers.3", "down_blocks.3.resnets.1.conv2"),
    ("middle_block.1.proj_out", "mid_block.attentions.0.proj_out"),
    ("middle_block.2.emb_layers.1", "mid_block.resnets.1.time_emb_proj"),
    ("output_blocks.2.1.conv", "up_blocks.0.upsamplers.0.conv"),
    ("output_blocks.5.2.conv", "up_blocks.1.upsamplers.0.conv"),
    ("output_blocks.11.1.norm", "up_blocks.3.attentions.2.norm"),
    ("out.2", "conv_out"),
]


@pytest.mark.parametrize(("ldm", "diffusers"), MODULES)
def test_module_paths_translate_both_ways(ldm: str, diffusers: str):
    assert SD.to_diffusers(ldm) == diffusers
    assert SD.to_ldm(diffusers) == ldm


@pytest.mark.parametrize(
    ("part", "path", "key"),
    [
        (
            "unet",
            "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q",
            "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q",
        ),
        ("unet", "up_blocks.1.resnets.2.conv_shortcut", "lora_unet_up_blocks_1_resnets_2_conv_shortcut"),
        ("te", "encoder.layers.0.self_attn.q_proj", "lora_te_text_model_encoder_layers_0_self_attn_q_proj"),
        ("te", "text_model.encoder.layers.0.mlp.fc1", "lora_te_text_model_encoder_layers_0_mlp_fc1"),
    ],
)
def test_kohya_keys(part: str, path: str, key: str):
    assert layers.kohya_key(part, path) == key


def test_checkpoint_has_the_keys_of_sd15_and_survives_the_round_trip(tiny_checkpoint):
    original = load_file(tiny_checkpoint)
    unet, vae = layers.unet_to_diffusers(original), layers.vae_to_diffusers(original)
    clip = layers.clip_to_transformers(original, prefixed=False)
    assert (len(unet), len(vae)) == (686, 248)
    back = {**layers.unet_to_ldm(unet), **layers.vae_to_ldm(vae), **layers.clip_to_ldm(clip)}
    prefixes = (UNET_PREFIX, VAE_PREFIX, CLIP_PREFIX)
    assert back.keys() == {key for key in original if key.startswith(prefixes)}
    assert all(torch.equal(back[key], original[key]) for key in back)


def test_vae_attention_becomes_linear(tiny_checkpoint):
    original = load_file(tiny_checkpoint)
    assert original[f"{VAE_PREFIX}encoder.mid.attn_1.q.weight"].shape == (64, 64, 1, 1)
    vae = layers.vae_to_diffusers(original)
    assert vae["encoder.mid_block.attentions.0.to_q.weight"].shape == (64, 64)
    assert vae["decoder.mid_block.attentions.0.to_out.0.weight"].ndim == 2


def test_both_spellings_of_transformers_are_understood(tiny_checkpoint):
    original = load_file(tiny_checkpoint)
    old = layers.clip_to_transformers(original, prefixed=True)
    new = layers.clip_to_transformers(original, prefixed=False)
    assert {f"text_model.{key}" for key in new} == set(old)
    assert layers.clip_to_ldm(old).keys() == layers.clip_to_ldm(new).keys()


def test_miniature_modules_have_the_same_keys(tiny_checkpoint):
    from lib_lora.demo import architecture

    original = load_file(tiny_checkpoint)
    assert architecture.build_unet().state_dict().keys() == layers.unet_to_diffusers(original).keys()
    assert architecture.build_vae().state_dict().keys() == layers.vae_to_diffusers(original).keys()
    text = architecture.build_text_encoder(vocab=300).state_dict()
    assert sum(".layers." in key for key in text) == 12 * 16 and len(text) == 12 * 16 + 4
