from __future__ import annotations

import pytest

from lib_lora.adapters import NetworkSpec, blocks
from lib_lora.adapters.block_presets import preset_faults
from lib_lora.adapters.blocks import BLOCKS_12, BLOCKS_17, BLOCKS_20, BLOCKS_26, BlockWeights
from lib_lora.adapters.selection import select
from lib_lora.errors import UserError
from lib_lora.models.families import family
from lib_lora.models.unet import SD

# Where ldm's own numbering puts a layer: input_blocks.N is INnn, middle_block is M00, output_blocks.N is OUTnn.
LDM = {
    "input_blocks": "IN{:02}",
    "output_blocks": "OUT{:02}",
    "middle_block": "M00",
    "time_embed": "BASE",
    "out": "OUT11",
}


def ldm_block(path: str) -> str:
    side, number = SD.to_ldm(path).split(".")[:2]
    return LDM[side].format(int(number) if number.isdigit() else 0)


def test_every_layer_of_sd15(sd15_unet_paths):
    assert len(sd15_unet_paths) == 282
    for key, (path, _) in sd15_unet_paths.items():
        assert blocks.block_of(key) == ldm_block(path), key


def test_lora_uses_17_blocks_and_locon_26(sd15_layers):
    assert blocks.layout_for(select(sd15_layers, NetworkSpec())) == BLOCKS_17
    assert {blocks.block_of(k) for k in select(sd15_layers, NetworkSpec())} == set(BLOCKS_17)
    locon = select(sd15_layers, NetworkSpec(conv_rank=4))
    assert blocks.layout_for(locon) == BLOCKS_26
    assert {blocks.block_of(k) for k in locon} == set(BLOCKS_26) - {"IN00"}  # conv_in alone, which kohya leaves out


def test_other_families_are_refused():
    for key in ("lora_unet_input_blocks_12_1_x", "lora_unet_up_blocks_9_resnets_0_conv1", "lora_te3_x", "junk"):
        with pytest.raises(UserError, match=key):
            blocks.block_of(key)


def test_17_weights_reach_the_other_blocks_from_the_listed_one_before():
    full = BlockWeights.read([float(i) for i in range(17)])
    assert [full[n] for n in BLOCKS_17] == [float(i) for i in range(17)]
    assert full["IN00"] == full["IN01"]
    assert full["IN03"] == full["IN02"]
    assert full["IN06"] == full["IN05"]
    assert {full[n] for n in ("IN09", "IN10", "IN11")} == {full["IN08"]}
    assert {full[n] for n in ("OUT00", "OUT01", "OUT02")} == {full["M00"]}
    assert list(full) == list(BLOCKS_26)


def test_26_weights_are_taken_as_they_are():
    values = [i / 7 for i in range(26)]
    assert list(BlockWeights.read(values).values()) == values
    assert BlockWeights.read(BlockWeights.read(values)) == BlockWeights.read(values)


@pytest.mark.parametrize("count", [0, 1, 11, 16, 18, 21, 25, 27, 60])
def test_wrong_counts_list_what_is_valid(count):
    with pytest.raises(UserError, match=f"{count} block weights were given") as error:
        BlockWeights.read([1.0] * count)
    assert "17 (BASE, IN01" in error.value.fix
    assert "26 (BASE, IN00" in error.value.fix


def test_sdxl():
    attention = [f"lora_unet_input_blocks_{n}_1_transformer_blocks_0_attn1_to_q" for n in (4, 5, 7, 8)]
    attention += [f"lora_unet_output_blocks_{n}_1_proj_in" for n in range(6)]
    attention += ["lora_unet_middle_block_1_proj_out", "lora_te1_x", "lora_te2_x", "lora_unet_label_emb_0_0"]
    assert blocks.layout_for(attention) == BLOCKS_12
    assert {blocks.block_of(key) for key in attention} == set(BLOCKS_12)
    convolutions = ["lora_unet_input_blocks_3_0_op", "lora_unet_output_blocks_8_0_in_layers_2", "lora_unet_out_2"]
    assert [blocks.block_of(key) for key in convolutions] == ["IN03", "OUT08", "OUT08"]
    assert blocks.layout_for(attention + convolutions) == BLOCKS_20
    twelve = BlockWeights.read([float(i) for i in range(12)])
    assert (twelve["IN00"], twelve["IN04"], twelve["IN06"], twelve["M00"], twelve["OUT08"]) == (1, 1, 2, 5, 11)
    twenty = BlockWeights.read([float(i) for i in range(20)])
    assert [twenty[name] for name in BLOCKS_20] == list(range(20))


def test_weights_are_for_a_family():
    presets = blocks.load_presets()
    assert BlockWeights.parse("ALL0.5", presets, family("sdxl"))["OUT05"] == 0.5
    assert BlockWeights.parse("1," * 11 + "0", {}, family("sdxl"))["OUT05"] == 0
    with pytest.raises(UserError, match="another family") as error:
        BlockWeights.parse(presets["GP1"].rpartition("|")[2], presets, family("sdxl"))
    assert "12 (BASE, IN04" in error.value.fix
    with pytest.raises(UserError, match="another family"):
        BlockWeights.parse("1," * 11 + "0", {}, family("sd1"))


def test_presets_have_forms_by_layout():
    presets = blocks.load_presets()
    for name, inside, outside in (
        ("INS", "IN04", "IN07"),
        ("IND", "IN08", "IN05"),
        ("OUTD", "OUT02", "OUT03"),
        ("OUTS", "OUT05", "OUT02"),
    ):
        weights = BlockWeights.parse(name, presets, family("sdxl"))
        assert (weights[inside], weights[outside]) == (1, 0), name
    for of in (None, family("sd1")):
        assert BlockWeights.parse("OUTS", presets, of)["OUT07"] == 1
        assert BlockWeights.parse("OUTS", presets, of)["OUT05"] == 0
    assert BlockWeights.parse("1," * 11 + "0", {})["OUT05"] == 0
    with pytest.raises(UserError, match="another family"):
        BlockWeights.parse("GP1", presets, family("flux1"))


def test_the_guides_pairs_for_sdxl_follow_the_size_that_a_block_sees():
    presets = blocks.load_presets()
    same = dict(zip(("OUT00", "OUT01", "OUT02", "OUT03", "OUT04", "OUT05"), BLOCKS_17[8:14], strict=True))
    same |= {name: name for name in ("BASE", "IN04", "IN05", "IN07", "IN08", "M00")}
    for name in ("GP1", "GP2", "GP1_STRONG", "GP2_STRONG"):
        xl, sd1 = (BlockWeights.parse(name, presets, family(of)) for of in ("sdxl", "sd1"))
        assert {block: xl[block] for block in same} == {block: sd1[alike] for block, alike in same.items()}, name
    for one in ("flux1", "z_image", "anima"):
        assert set(BlockWeights.parse("ALL0.5", presets, family(one)).values()) == {0.5}
        with pytest.raises(UserError, match="another family"):
            BlockWeights.parse("INS", presets, family(one))


def test_transformers_have_their_own():
    flux = BlockWeights.parse("te=0.5,D00-D18=0,S37.linear=2", {}, family("flux1"))
    assert [
        flux.of(f"lora_{key}")
        for key in (
            "te1_text_model_x",
            "te3_encoder_block_0",
            "unet_img_in",
            "unet_double_blocks_18_txt_mlp_0",
            "unet_single_blocks_37_linear1",
            "unet_single_blocks_37_modulation_lin",
            "unet_final_layer_linear",
        )
    ] == [0.5, 0.5, 1, 0, 2, 1, 1]
    assert len(flux.format().split(",")) == 62 and BlockWeights.parse(flux.format(), {}, family("flux1")) == flux
    assert BlockWeights.parse("0," * 60 + "1", {})["OUT"] == 1
    with pytest.raises(UserError, match=r"for Flux\.1, and the LoRA is for Z-Image"):
        BlockWeights.read(flux, family("z_image"))
    assert flux.scaled(2.0, "CLIP", "T5")["T5"] == 1.0


def test_named_weights():
    got = BlockWeights.parse(" te=0.3, unet=-1,IN04-IN06=0.5 ,M00=0", {})
    assert (got["BASE"], got["IN03"], got["IN04"], got["IN06"], got["M00"], got["OUT11"]) == (0.3, -1, 0.5, 0.5, 0, -1)
    kept = BlockWeights.parse("NOT M00=0", {}, family("sdxl"))
    assert [name for name, weight in kept.items() if weight] == ["M00"]
    assert BlockWeights.parse("MINE", {"MINE": "OUT03-OUT11=2"})["OUT03"] == 2
    for wrong in ("IN99=1", "OUT03-IN04=1", "te=x", "te=1,,M00=0", "te=nan", "=1"):
        with pytest.raises(UserError):
            BlockWeights.parse(wrong, {})


def test_wrong_names_and_values():
    with pytest.raises(UserError, match="IN01, IN99"):
        BlockWeights.read({("IN99" if n == "IN01" else n): 1.0 for n in BLOCKS_17})
    with pytest.raises(UserError, match="M00 is not a finite"):
        BlockWeights.read({n: float("nan") if n == "M00" else 1.0 for n in BLOCKS_17})


def test_presets():
    presets = blocks.load_presets()
    for name in presets:
        BlockWeights.parse(name, presets)
    gp1, gp2 = (BlockWeights.parse(f" {name} ", presets) for name in ("GP1", "GP2"))
    assert (gp1["BASE"], gp1["IN01"], gp1["M00"], gp1["OUT11"]) == (1.0, 0.6, 0.4, 1.1)
    assert (gp2["BASE"], gp2["IN01"], gp2["OUT06"], gp2["OUT07"]) == (0.3, 0.1, 0.1, 0.2)
    assert not any(BlockWeights.parse("NONE", presets).values())
    with pytest.raises(UserError, match="Known presets: NONE, ALL,"):
        BlockWeights.parse("gp9", presets)


def test_slider_text_slider():
    weights = BlockWeights.read([i / 3 for i in range(17)])
    text = weights.format(BLOCKS_17)
    assert BlockWeights.parse(text, {}) == weights
    assert BlockWeights.read([1, *[0.5] * 16]).format(BLOCKS_17).startswith("1,0.5,")


def test_the_users_presets_win(tmp_path):
    mine = tmp_path / "presets.txt"
    mine.write_text("# mine\n\n  GP1 : 2" + ",2" * 16 + "\nNEW:" + ",".join("1" * 26), encoding="utf-8-sig")
    presets = blocks.load_presets(mine)
    assert BlockWeights.parse("GP1", presets)["OUT03"] == 2
    assert {"ALL", "NEW"} <= set(presets)
    assert blocks.load_presets(tmp_path / "none.txt") == blocks.load_presets()
    mine.write_text("GP2:te=1\nnonsense\n", encoding="utf-8")
    assert blocks.load_presets(mine)["GP2"] == "te=1"
    (fault,) = preset_faults(mine)
    assert "Line 2 is not a block preset" in fault


def test_blocks_by_name():
    assert blocks.named_blocks(" IN01-IN02 OUT09-OUT11 ") == ("IN01", "IN02", "OUT09", "OUT10", "OUT11")
    assert blocks.named_blocks("te") == ("BASE",) and len(blocks.named_blocks("NOT te")) == 25
    for wrong in ("", "IN99", "OUT02-IN01", "all"):
        with pytest.raises(UserError, match="names no blocks"):
            blocks.named_blocks(wrong)
