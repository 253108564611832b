"""Layer names as they are found in the wild, all read as ours."""

from __future__ import annotations

import json

import pytest
import safetensors.torch
import torch
from diffusers import UNet2DConditionModel

from lib_lora.adapters import read_lora, write_lora
from lib_lora.adapters.file import to_delta
from lib_lora.adapters.recognition import family_of
from lib_lora.models.families import family
from lib_lora.models.layers import kohya_key
from lib_lora.models.unet import SD

SD_KEYS = {
    "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_norm1": "input_blocks_1_1_transformer_blocks_0_norm1",
    "lora_unet_down_blocks_0_resnets_1_conv1": "input_blocks_2_0_in_layers_2",
    "lora_unet_down_blocks_2_downsamplers_0_conv": "input_blocks_9_0_op",
    "lora_unet_mid_block_attentions_0_proj_in": "middle_block_1_proj_in",
    "lora_unet_up_blocks_0_upsamplers_0_conv": "output_blocks_2_1_conv",
    "lora_unet_up_blocks_1_upsamplers_0_conv": "output_blocks_5_2_conv",
    "lora_unet_up_blocks_3_attentions_2_proj_out": "output_blocks_11_1_proj_out",
}
SDXL_KEYS = {
    "down_blocks_1_attentions_0_transformer_blocks_1_ff_net_2": "input_blocks_4_1_transformer_blocks_1_ff_net_2",
    "down_blocks_2_resnets_1_conv2": "input_blocks_8_0_out_layers_3",
    "up_blocks_0_attentions_2_proj_in": "output_blocks_2_1_proj_in",
    "up_blocks_0_upsamplers_0_conv": "output_blocks_2_2_conv",
    "up_blocks_2_resnets_0_conv_shortcut": "output_blocks_6_0_skip_connection",
    "add_embedding_linear_2": "label_emb_0_2",
}
KEY = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q"
SGM_KEY = "lora_unet_input_blocks_1_1_transformer_blocks_0_attn1_to_q"
PATH = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"


def canonical(key: str, name: str) -> str:
    place = family(name).place(key)
    assert place is not None and place.parts == 1, key
    return place.key


def test_names_of_blocks():
    for ours, sgm in SD_KEYS.items():
        assert canonical(f"lora_unet_{sgm}", "sd1") == ours == canonical(ours, "sd1")
    for diffusers, sgm in SDXL_KEYS.items():
        assert (
            canonical(f"lora_unet_{diffusers}", "sdxl") == f"lora_unet_{sgm}" == canonical(f"lora_unet_{sgm}", "sdxl")
        )
    assert canonical("lora_te_x", "sdxl") == "lora_te1_x"


def test_every_layer_of_sd15(sd15_unet_paths):
    for key, (path, _) in sd15_unet_paths.items():
        assert canonical(kohya_key("unet", SD.to_ldm(path)), "sd1") == key


def test_every_layer_of_sdxl_has_one_name():
    with torch.device("meta"):
        unet = UNet2DConditionModel(
            block_out_channels=(320, 640, 1280),
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
            transformer_layers_per_block=(1, 2, 10),
            addition_embed_type="text_time",
            addition_time_embed_dim=256,
            projection_class_embeddings_input_dim=2816,
        )
    keys = [
        f"lora_unet_{n.removesuffix('.weight').replace('.', '_')}" for n in unet.state_dict() if n.endswith(".weight")
    ]
    ours = [canonical(key, "sdxl") for key in keys]
    assert family_of(keys) is family_of(ours) is family("sdxl")
    assert len(set(ours)) == len(keys)
    assert not any("down_blocks" in key or "resnets" in key or "embedding" in key for key in ours)


def test_families():
    assert family_of(["lora_te_text_model_encoder_layers_0_mlp_fc1"]).name == "sd1"
    assert family_of(["lora_unet_input_blocks_4_1_proj_in"]).name == "sdxl"
    assert family_of(["lora_unet_mid_block_attentions_0_proj_in"]).name == "sd1"
    assert family_of(
        ["lora_unet_mid_block_attentions_0_proj_in"], {"ss_base_model_version": "sdxl_base_v1-0"}
    ) is family("sdxl")
    assert family_of(["lora_te_x", "lora_te2_x"]).name == "sdxl"


def factors() -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(0)
    return torch.randn(8, 2, generator=g), torch.randn(2, 6, generator=g)


up, down = factors()
ALPHA = {"alpha": torch.tensor(2.0)}
SPELLINGS = {
    "kohya": ({f"{KEY}.lora_up.weight": up, f"{KEY}.lora_down.weight": down, f"{KEY}.alpha": ALPHA["alpha"]}, KEY),
    "sgm": (
        {f"{SGM_KEY}.{n}": t for n, t in {"lora_up.weight": up, "lora_down.weight": down, **ALPHA}.items()},
        KEY,
    ),
    "lycoris": ({f"lycoris_{KEY[10:]}.lora_up.weight": up, f"lycoris_{KEY[10:]}.lora_down.weight": down}, KEY),
    "peft": ({f"unet.{PATH}.lora_B.weight": up, f"unet.{PATH}.lora_A.weight": down}, KEY),
    "peft saved": (
        {
            f"base_model.model.unet.{PATH}.lora_B.default.weight": up,
            f"base_model.model.unet.{PATH}.lora_A.default.weight": down,
        },
        KEY,
    ),
    "diffusers": ({f"unet.{PATH}.lora.up.weight": up, f"unet.{PATH}.lora.down.weight": down}, KEY),
    "processor": (
        {
            f"unet.{PATH[:-5]}.processor.to_out_lora.up.weight": up,
            f"unet.{PATH[:-5]}.processor.to_out_lora.down.weight": down,
        },
        KEY.replace("to_q", "to_out_0"),
    ),
    "text encoder": (
        {
            "text_encoder.text_model.encoder.layers.0.mlp.fc1.lora_linear_layer.up.weight": up,
            "text_encoder.text_model.encoder.layers.0.mlp.fc1.lora_linear_layer.down.weight": down,
        },
        "lora_te_text_model_encoder_layers_0_mlp_fc1",
    ),
    "second text encoder": (
        {f"text_encoder_2.encoder.layers.0.mlp.fc1.lora_{n}.weight": t for n, t in (("B", up), ("A", down))},
        "lora_te2_text_model_encoder_layers_0_mlp_fc1",
    ),
    "peft's own, any adapter": (
        {f"base_model.model.{PATH}.lora_{n}.mine.weight": t for n, t in (("B", up), ("A", down))},
        KEY,
    ),
    "kohya's keys, peft's factors": ({f"{KEY}.lora_{n}.weight": t for n, t in (("B", up), ("A", down))}, KEY),
    "without a root": ({f"{PATH}.lora.{n}.weight": t for n, t in (("up", up), ("down", down))}, KEY),
    "dots behind kohya's root": (
        {f"lora_unet.{PATH}.lora_{n}.weight": t for n, t in (("up", up), ("down", down))},
        KEY,
    ),
    "a text encoder without a root": (
        {f"text_model.encoder.layers.0.mlp.fc1.lora_{n}.weight": t for n, t in (("B", up), ("A", down))},
        "lora_te_text_model_encoder_layers_0_mlp_fc1",
    ),
    "sd1's text encoder as sdxl's first": (
        {
            f"{key}.lora_{n}.weight": t
            for key in (KEY, "lora_te1_text_model_encoder_layers_0_mlp_fc1")
            for n, t in (("up", up), ("down", down))
        },
        "lora_te_text_model_encoder_layers_0_mlp_fc1",
    ),
    "comfyui's clip": (
        {
            f"text_encoders.clip_g.transformer.text_model.encoder.layers.0.mlp.fc1.lora_{n}.weight": t
            for n, t in (("up", up), ("down", down))
        },
        "lora_te2_text_model_encoder_layers_0_mlp_fc1",
    ),
    "generic sdxl": (
        {f"diffusion_model.input_blocks.4.1.proj_in.lora_{n}.weight": t for n, t in (("B", up), ("A", down))},
        "lora_unet_input_blocks_4_1_proj_in",
    ),
}


@pytest.mark.parametrize(("tensors", "key"), SPELLINGS.values(), ids=SPELLINGS.keys())
def test_every_spelling_is_read_and_survives_writing(tmp_path, tensors, key):
    safetensors.torch.save_file({n: t.clone() for n, t in tensors.items()}, tmp_path / "a.safetensors")
    file = read_lora(tmp_path / "a.safetensors")
    assert key in file.modules
    assert torch.equal(to_delta(file.modules[key]).dense(), up @ down)
    again = read_lora(write_lora(tmp_path / "b.safetensors", file.modules, file.metadata, None))
    assert list(again.modules) == sorted(file.modules)
    assert torch.equal(to_delta(again.modules[key]).dense(), up @ down)


def test_alphas_of_diffusers_metadata(tmp_path):
    config = {"unet.lora_alpha": 1, "unet.alpha_pattern": {"attn1.to_q": 4}}
    tensors = {f"unet.{PATH}.lora_{n}.weight": t for n, t in (("B", up), ("A", down))}
    other = {name.replace("to_q", "to_k"): t.clone() for name, t in tensors.items()}
    metadata = {"lora_adapter_metadata": json.dumps(config)}
    safetensors.torch.save_file({**tensors, **other}, tmp_path / "a.safetensors", metadata)
    modules = read_lora(tmp_path / "a.safetensors").modules
    assert torch.allclose(to_delta(modules[KEY]).dense(), 2 * up @ down)
    assert torch.allclose(to_delta(modules[KEY.replace("to_q", "to_k")]).dense(), 0.5 * up @ down)


def test_peft_dora_and_kohya_oft(tmp_path):
    tensors = {f"unet.{PATH}.lora_{n}.weight": t for n, t in (("B", up), ("A", down))}
    tensors[f"unet.{PATH}.lora_magnitude_vector"] = torch.ones(8)
    tensors["oft_unet_mid_block_attentions_0_proj_in.oft_blocks"] = torch.zeros(2, 4, 4)
    tensors["oft_unet_mid_block_attentions_0_proj_in.alpha"] = torch.tensor(1e-3)
    safetensors.torch.save_file(tensors, tmp_path / "a.safetensors")
    modules = read_lora(tmp_path / "a.safetensors").modules
    assert modules[KEY]["dora_scale"].shape == (8, 1)
    assert "oft_blocks" in modules["lora_unet_mid_block_attentions_0_proj_in"]


def test_bundled_embeddings_are_kept(tmp_path):
    name = "bundle_emb.mika.string_to_param.*"
    tensors = {**SPELLINGS["kohya"][0], name: torch.ones(2, 4)}
    safetensors.torch.save_file(tensors, tmp_path / "a.safetensors")
    file = read_lora(tmp_path / "a.safetensors")
    assert list(file.extras) == [name]
    again = read_lora(write_lora(tmp_path / "b.safetensors", {**file.modules, **file.extras}, {}))
    assert torch.equal(again.extras[name], torch.ones(2, 4, dtype=torch.float16))
