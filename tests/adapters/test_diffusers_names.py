"""Layers under diffusers' own names: every layer of its U-Nets and text encoders, and the same ΔW when read back."""

from __future__ import annotations

import pytest
import torch
from diffusers import UNet2DConditionModel
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from lib_lora.adapters.diffusers_names import for_diffusers, module_path, module_paths
from lib_lora.adapters.file import read_lora, to_delta, write_lora
from lib_lora.errors import UserError
from lib_lora.models.families import family
from lib_lora.models.layers import kohya_key

SDXL = {
    "block_out_channels": (320, 640, 1280),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "transformer_layers_per_block": (1, 2, 10),
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}


@pytest.mark.parametrize(
    ("name", "config", "encoders"),
    [("sd1", {}, {"text_encoder": "te"}), ("sdxl", SDXL, {"text_encoder": "te1", "text_encoder_2": "te2"})],
)
def test_every_layer_has_the_path_that_diffusers_gives_it(name: str, config: dict, encoders: dict[str, str]) -> None:
    with torch.device("meta"):
        parts = {"unet": UNet2DConditionModel(cross_attention_dim=8, **config)}
        small = CLIPTextConfig(hidden_size=8, intermediate_size=8, num_attention_heads=2, num_hidden_layers=2)
        parts |= {
            part: (CLIPTextModelWithProjection if part.endswith("2") else CLIPTextModel)(small) for part in encoders
        }
    count = 0
    for part, model in parts.items():
        for path, module in model.named_modules():
            if not isinstance(module, (nn.Linear, nn.Conv2d)) or path == "text_projection":
                continue
            key = kohya_key(encoders.get(part, "unet"), path)
            place = family(name).place(key)
            assert place is not None, key
            assert module_path(place.key, family(name)).replace("text_model.", "") == f"{part}.{path}".replace(
                "text_model.", ""
            )
            count += 1
    assert count > 200


def test_the_scale_is_built_in_and_read_back(tmp_path) -> None:
    key = "lora_unet_input_blocks_4_1_transformer_blocks_1_attn1_to_q"
    g = torch.Generator().manual_seed(0)
    params = {
        "lora_up.weight": torch.randn(640, 32, generator=g).half() * 2**-10,
        "lora_down.weight": torch.randn(32, 640, generator=g).half(),
        "alpha": torch.tensor(1.0),
    }
    made = for_diffusers({key: params}, family("sdxl"))
    assert list(made) == ["unet.down_blocks.1.attentions.0.transformer_blocks.1.attn1.to_q"]
    path = write_lora(tmp_path / "a.safetensors", made, {}, torch.float16)
    read = read_lora(path)
    assert list(read.modules) == [key] and read.family is family("sdxl")
    before, after = to_delta(params).dense(), to_delta(read.modules[key]).dense()
    assert (before - after).norm() <= 1e-6 * before.norm(), "a power of two loses nothing in half precision"


def test_layers_that_diffusers_does_not_have_are_none() -> None:
    assert module_paths("lora_te3_encoder_block_0_layer_0_SelfAttention_q", family("flux1")) == ()
    assert module_paths("lora_unet_final_layer_adaLN_modulation_1", family("flux1")) == ()
    assert module_paths("lora_te_model_layers_0_self_attn_q_proj", family("z_image")) == ()
    with pytest.raises(UserError, match="no such layer in diffusers"):
        module_path("lora_unet_double_blocks_0_img_attn_qkv", family("flux1"))


def test_a_layer_that_diffusers_splits_becomes_several_with_the_rows_of_each() -> None:
    key = "lora_unet_single_blocks_3_linear1"
    up, down = torch.randn(7 * 8, 2), torch.randn(2, 8)
    made = for_diffusers({key: {"lora_up.weight": up, "lora_down.weight": down}}, family("flux1"))
    before = "transformer.single_transformer_blocks.3."
    assert list(made) == [before + part for part in ("attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp")]
    rows = [made[path]["lora_B.weight"] @ made[path]["lora_A.weight"] for path in made]
    assert [len(part) for part in rows] == [8, 8, 8, 32]
    torch.testing.assert_close(torch.cat(rows), up @ down)
