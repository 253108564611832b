"""Weights of kinds of layers within blocks."""

from __future__ import annotations

import pytest
import torch

from lib_lora.adapters import blocks
from lib_lora.adapters.blocks import BLOCKS_17, BLOCKS_26, BlockWeights
from lib_lora.adapters.file import LoraFile, to_delta
from lib_lora.adapters.formula import parse
from lib_lora.adapters.merge import combine
from lib_lora.errors import UserError
from lib_lora.models.unet import KINDS

BLOCK = "lora_unet_down_blocks_1_attentions_0_"  # IN04
SELF, CROSS = (f"{BLOCK}transformer_blocks_0_attn{n}_to_q" for n in (1, 2))
MLP, PROJ = f"{BLOCK}transformer_blocks_0_ff_net_0_proj", f"{BLOCK}proj_in"
CONV = "lora_unet_down_blocks_1_resnets_0_conv1"


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        (SELF, "attn1"),
        (CROSS, "attn2"),
        (MLP, "mlp"),
        (PROJ, "proj"),
        (CONV, "conv"),
        (f"{BLOCK}transformer_blocks_0_norm1", "norm"),
        ("lora_unet_down_blocks_1_resnets_0_norm2", "norm"),
        ("lora_unet_down_blocks_1_resnets_0_time_emb_proj", "conv"),
        ("lora_unet_down_blocks_1_downsamplers_0_conv", "conv"),
        ("lora_unet_input_blocks_4_1_transformer_blocks_3_attn2_to_out_0", "attn2"),
        ("lora_unet_input_blocks_4_1_proj_out", "proj"),
        ("lora_unet_input_blocks_4_0_in_layers_2", "conv"),
        ("lora_unet_input_blocks_4_0_in_layers_0", "norm"),
        ("lora_te_text_model_encoder_layers_3_self_attn_k_proj", "attn1"),
        ("lora_te1_text_model_encoder_layers_3_mlp_fc2", "mlp"),
        ("lora_te_text_model_encoder_layers_3_layer_norm1", "norm"),
    ],
)
def test_kinds_of_layers(key, kind):
    assert KINDS.of(key) == kind


def test_every_layer_of_sd15_has_a_kind(sd15_layers):
    kinds = {kind: sum(KINDS.of(key) == kind for key in sd15_layers) for kind in KINDS.names}
    assert kinds["attn1"] >= 16 * 4
    assert kinds["attn2"] == 16 * 4
    assert sum(kinds.values()) == len(sd15_layers)


def test_a_kind_stands_in_the_place_of_its_block():
    weights = BlockWeights.parse("ALL0.5, IN04.attn=0, IN05-IN08.conv=2", blocks.load_presets())
    assert [weights.of(key) for key in (SELF, CROSS, MLP, PROJ, CONV)] == [0, 0, 0.5, 0.5, 0.5]
    assert weights.of("lora_unet_down_blocks_1_resnets_1_conv1") == 2
    assert weights.of("lora_unet_up_blocks_3_resnets_1_conv1") == 0.5


def test_ways_to_name_kinds():
    every = BlockWeights.parse("attn2=0.3", {})
    assert every["OUT11.attn2"] == 0.3
    assert every["OUT11"] == 1
    assert "OUT11.attn1" not in every
    assert BlockWeights.parse("unet.ff=0", {})["M00.mlp"] == 0
    several = BlockWeights.parse("IN04 M00-OUT01.mlp=0", {})
    assert sorted(name for name in several if "." in name) == ["IN04.mlp", "M00.mlp", "OUT00.mlp", "OUT01.mlp"]
    assert "M00.conv" not in BlockWeights.parse("NOT M00.conv=0", {})
    later = BlockWeights.parse("IN04.attn=0,IN04=0.7", {})
    assert later.of(SELF) == 0.7
    for wrong in ("IN04.hands=1", "IN99.attn=1", "IN04.=1", ".attn=x", "1,2,IN04.attn=1"):
        with pytest.raises(UserError):
            BlockWeights.parse(wrong, {})
    with pytest.raises(UserError, match=r"IN04\.hands"):
        BlockWeights.read({**dict.fromkeys(BLOCKS_26, 1.0), "IN04.hands": 1.0})


def test_text_of_kinds_is_read_back():
    weights = BlockWeights.parse("GP1,IN04.attn=0.25,IN05.attn1=0,OUT03.mlp=2,BASE.attn=0.5", blocks.load_presets())
    text = weights.format(BLOCKS_17)
    assert text.endswith(",BASE.attn=0.5,IN04.attn=0.25,IN05.attn1=0,OUT03.mlp=2")
    assert BlockWeights.parse(text, {}) == weights
    assert BlockWeights.parse(text, {}).format(BLOCKS_17) == text


def test_kinds_in_a_formula_and_a_merge():
    (first, second) = parse("A:1:GP1,IN04.attn=0,OUT03.mlp=2,B:-1")
    assert first.blocks == "GP1,IN04.attn=0,OUT03.mlp=2"
    assert second.name == "B"
    g = torch.Generator().manual_seed(0)
    modules = {
        key: {"lora_up.weight": torch.randn(6, 2, generator=g), "lora_down.weight": torch.randn(2, 5, generator=g)}
        for key in (SELF, CROSS, MLP)
    }
    file = LoraFile(None, {}, modules)
    weights = BlockWeights.parse("0.5," * 16 + "0.5,IN04.attn1=0,IN04.mlp=-2", {})
    merged = combine([(file, 1.0, weights)])
    assert set(merged.modules) == {CROSS, MLP}
    for key, weight in ((CROSS, 0.5), (MLP, -2.0)):
        assert torch.allclose(to_delta(merged.modules[key]).dense(), weight * to_delta(modules[key]).dense(), atol=1e-6)
    recorded = parse(merged.metadata["merge_formula"])[0].blocks
    assert BlockWeights.parse(recorded, {}) == weights
