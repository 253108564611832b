"""Merging into checkpoints and extracting from them, on real files."""

from __future__ import annotations

import pytest
import safetensors.torch
import torch

from lib_lora.adapters import LoraFile, container
from lib_lora.adapters.base_weights import CheckpointWeights, Place, places
from lib_lora.adapters.checkpoint import merge_into_checkpoint
from lib_lora.adapters.extract import Extraction, extract
from lib_lora.adapters.file import to_delta
from lib_lora.errors import UserError

QUERY = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q"
CONV = "lora_unet_mid_block_resnets_0_conv1"
TEXT = "lora_te_text_model_encoder_layers_0_mlp_fc1"
NORM = "lora_unet_mid_block_resnets_0_norm1"


@pytest.fixture
def lora(tiny_checkpoint) -> LoraFile:
    base, g = CheckpointWeights(tiny_checkpoint), torch.Generator().manual_seed(0)
    modules = {}
    for key in (QUERY, CONV, TEXT):
        o, i, *kernel = base[key].shape
        up = torch.randn(o, 2, *[1] * len(kernel), generator=g)
        modules[key] = {"lora_up.weight": up, "lora_down.weight": torch.randn(2, i, *kernel, generator=g)}
    modules[QUERY]["dora_scale"] = 1 + torch.rand(1, base[QUERY].shape[1], generator=g)
    channels = base[NORM].shape
    modules[NORM] = {"w_norm": torch.randn(channels, generator=g), "b_norm": torch.randn(channels, generator=g)}
    return LoraFile(None, {}, {**modules, "lora_unet_elsewhere": modules[TEXT]})


def test_merging_changes_what_it_should_and_nothing_else(tiny_checkpoint, tmp_path, lora):
    target = tmp_path / "merged.safetensors"
    left_out = merge_into_checkpoint(tiny_checkpoint, [(lora, 0.5, None), (lora, -1.0, None)], target, formula="f")
    assert left_out == ["lora_unet_elsewhere"]
    before, after = CheckpointWeights(tiny_checkpoint), CheckpointWeights(target)
    assert container.read_metadata(target)["merge_formula"] == "f"
    touched = {place.name for key in lora.modules if key in before for place in before.places[key]}
    norm_bias = before.places[NORM][0].bias
    old, new = (safetensors.torch.load_file(path) for path in (tiny_checkpoint, target))
    assert old.keys() == new.keys()
    assert {name for name in old if not torch.equal(old[name], new[name])} == touched | {norm_bias}
    for key in (QUERY, CONV, TEXT, NORM):
        delta = to_delta(lora.modules[key], before[key].float())
        want = before[key].float() - 0.5 * delta.dense()
        assert torch.allclose(after[key].float(), want, rtol=2e-3, atol=2e-3), key
    want = old[norm_bias].float() - 0.5 * lora.modules[NORM]["b_norm"]
    assert torch.allclose(new[norm_bias].float(), want, rtol=2e-3, atol=2e-3)


def test_merging_refuses(tiny_checkpoint, tmp_path, lora):
    target = tmp_path / "out.safetensors"
    with pytest.raises(UserError, match="exists already"):
        merge_into_checkpoint(tiny_checkpoint, [(lora, 1.0, None)], tiny_checkpoint)
    stranger = LoraFile(None, {}, {"lora_unet_elsewhere": lora.modules[TEXT]})
    with pytest.raises(UserError, match="None of the LoRA's layers"):
        merge_into_checkpoint(tiny_checkpoint, [(stranger, 1.0, None)], target)
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(tiny_checkpoint.read_bytes()[:-1000])
    with pytest.raises(UserError, match="damaged"):
        merge_into_checkpoint(damaged, [(lora, 1.0, None)], target)
    no_model = tmp_path / "lora.safetensors"
    safetensors.torch.save_file({"a.b": torch.zeros(1)}, no_model)
    with pytest.raises(UserError, match="no checkpoint"):
        merge_into_checkpoint(no_model, [(lora, 1.0, None)], target)
    assert not target.exists()


def test_extraction_finds_what_was_merged(tiny_checkpoint, tmp_path, lora):
    del lora.modules[QUERY]["dora_scale"]
    wide = tmp_path / "wide.safetensors"
    tensors = {name: tensor.float() for name, tensor in safetensors.torch.load_file(tiny_checkpoint).items()}
    safetensors.torch.save_file(tensors, wide)
    tuned = tmp_path / "tuned.safetensors"
    merge_into_checkpoint(wide, [(lora, 1.0, None)], tuned)
    found = extract(tuned, wide, Extraction(rank=8, conv_rank=8, energy=0.999999))
    assert found.modules.keys() == {QUERY, CONV, TEXT}
    for key, params in found.modules.items():
        assert params["lora_down.weight"].shape[0] == 2
        want = to_delta(lora.modules[key]).dense()
        assert ((to_delta(params).dense() - want).norm() / want.norm()).item() < 1e-5
    assert found.report.total_error < 1e-5
    assert found.metadata["ss_base_model_version"] == "sd_v1"
    assert found.metadata["merge_formula"] == "tuned - wide"
    plain = extract(tuned, wide, Extraction(rank=1, text_encoder=False))
    assert plain.modules.keys() == {QUERY}
    assert plain.report.total_error > 0.1
    with pytest.raises(UserError, match="do not differ"):
        extract(wide, wide)
    with pytest.raises(UserError, match="replace one of its inputs"):
        found.save(wide, overwrite=True)


def test_places_of_open_clip():
    names = [
        "model.diffusion_model.input_blocks.4.1.proj_in.weight",
        "conditioner.embedders.0.transformer.text_model.encoder.layers.0.mlp.fc1.weight",
        "conditioner.embedders.1.model.transformer.resblocks.3.attn.in_proj_weight",
        "conditioner.embedders.1.model.transformer.resblocks.3.mlp.c_proj.weight",
    ]
    families, found = places(dict.fromkeys(names, (12, 4)))
    assert families[0].name == "sdxl"
    layer = "lora_te2_text_model_encoder_layers_3"
    assert found["lora_unet_input_blocks_4_1_proj_in"] == (Place(names[0]),)
    assert found["lora_te1_text_model_encoder_layers_0_mlp_fc1"] == (Place(names[1]),)
    assert found[f"{layer}_mlp_fc2"] == (Place(names[3]),)
    assert [found[f"{layer}_self_attn_{p}_proj"] for p in "qkv"] == [(Place(names[2], i),) for i in range(3)]
    fused = torch.arange(12.0).reshape(6, 2)
    assert torch.equal(found[f"{layer}_self_attn_v_proj"][0].part(fused), fused[4:])
    assert found[f"{layer}_self_attn_k_proj"][0].bias.endswith("attn.in_proj_bias")
    text = "cond_stage_model.model.transformer.resblocks.0.attn.in_proj_weight"
    families, sd2 = places({names[0]: (12, 4), text: (3072, 1024)})
    assert [of.name for of in families] == ["sd2"]
    assert "lora_te_text_model_encoder_layers_0_self_attn_k_proj" in sd2
    assert "lora_unet_down_blocks_1_attentions_0_proj_in" in sd2
