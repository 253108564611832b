"""The user's presets file, and lists of the Block Weight extension."""

from __future__ import annotations

import pytest

from lib_lora.adapters.block_presets import import_lbw, load_presets, save_presets
from lib_lora.adapters.blocks import BlockWeights, presets_for
from lib_lora.errors import UserError
from lib_lora.models.families import family

ONES = ",".join("1" * 17)


def test_saving_keeps_what_is_there(tmp_path):
    path = tmp_path / "data" / "presets.txt"
    save_presets(path, {"MINE": ONES})
    with path.open("a", encoding="utf-8") as file:
        file.write("# a note: mine\nOTHER:te=0\n")
    save_presets(path, {"größer": "GP1,IN04.attn=0.5"})
    assert "# a note: mine" in path.read_text(encoding="utf-8")
    presets = load_presets(path)
    assert (presets["MINE"], presets["OTHER"], presets["größer"]) == (ONES, "te=0", "GP1,IN04.attn=0.5")


def test_nothing_is_replaced_without_being_asked(tmp_path):
    path = tmp_path / "presets.txt"
    save_presets(path, {"MINE": ONES})
    before = path.read_bytes()
    for name in ("MINE", "a:b", "a,b", "a=b", "", " MINE", "#x"):
        with pytest.raises(UserError):
            save_presets(path, {"NEW": "te=0", name: "te=0"})
    assert path.read_bytes() == before
    save_presets(path, {"MINE": "te=0.5"}, replace=True)
    assert load_presets(path)["MINE"] == "te=0.5"
    assert path.read_text(encoding="utf-8").count("MINE") == 1


def test_a_list_of_the_extension():
    text = f"""    ALL:{ONES}
OUTX:1,{",".join("0" * 16)}
# OFF:{ONES}
HALF:{ONES} # disabled
RANDOM:{",".join("R" * 17)}
MIXED:X,X+0.2,U,{",".join("1" * 14)}
WRONG:Q,{",".join("1" * 16)}
XYZ:{ONES}
FLUX:{",".join("1" * 61)}
ODD:{",".join("1" * 62)}
"""
    found = import_lbw(text)
    assert list(found.presets) == ["ALL", "OUTX", "RANDOM", "MIXED", "FLUX"]
    assert found.presets["RANDOM"] == ",".join("R" * 17) and found.presets["MIXED"].startswith("X,X+0.2,U,1,")
    assert "own plot" in found.skipped["XYZ"]
    with pytest.raises(UserError, match="only a prompt's tag"):
        BlockWeights.parse("MIXED", found.presets)
    assert "62 weights" in found.skipped["ODD"]


def test_elements_of_the_extension():
    found = import_lbw(
        "ATTNDEEPON:IN05-OUT05:attn:1\n\nDEEPOFF:IN05 IN07:attn proj:0,M00::0.5\nBASE:attn:0.5\n\nALL0:::0\n\n"
        "NOTMID:NOT M00:ff:0\n\nODD:IN05:to_q:1"
    )
    assert "to_q" in found.skipped["ODD"]
    weights = {name: BlockWeights.parse(text, {}) for name, text in found.presets.items()}
    assert list(weights) == ["ATTNDEEPON", "DEEPOFF", "ALL0", "NOTMID"]
    deep = weights["DEEPOFF"]
    assert (deep["IN05.attn1"], deep["IN07.proj"], deep["IN05"]) == (0, 0, 1)
    assert (deep["M00"], deep["BASE.attn2"]) == (0.5, 0.5)
    assert not any(weights["ALL0"].values())
    assert "M00.mlp" not in weights["NOTMID"]
    assert weights["NOTMID"]["BASE.mlp"] == 0


def test_words_of_the_extension_that_are_parts_of_names():
    found = import_lbw(
        "SELF:IN05:self_attn:1\n\nFF:OUT:ff_net:0\n\nNOT:M00:NOT attn:0\n\nBACK:OUT05-IN05:attn:0\n\n"
        "ATTN:IN0:attn2:0\n\nTB:IN0:transformer_blocks:0\n\n"
        "PART:M00:proj_in:0\n\nBOTH:M00:in_layers out_layers:0\n\nXYZ:::1\n\nWHERE:IN99:attn:0"
    )
    assert set(found.skipped) == {"SELF", "PART", "BOTH", "XYZ", "WHERE"}
    assert "a part of the proj layers" in found.skipped["PART"] and "IN99" in found.skipped["WHERE"]
    weights = {name: BlockWeights.parse(text, {}) for name, text in found.presets.items()}
    assert (weights["FF"]["OUT11.mlp"], weights["FF"]["OUT11"], "IN05.mlp" in weights["FF"]) == (0, 1, False)
    assert weights["NOT"]["M00.mlp"] == weights["NOT"]["M00.conv"] == 0 and "M00.attn1" not in weights["NOT"]
    assert weights["BACK"]["M00.attn2"] == 0 and "IN04.attn1" not in weights["BACK"]
    assert (weights["TB"]["IN00.mlp"], weights["TB"]["IN09.attn1"], weights["TB"]["IN09"]) == (0, 0, 1)
    assert weights["ATTN"]["IN09.attn2"] == 0 and "IN10.attn2" not in weights["ATTN"]


def test_a_family_is_offered_the_presets_that_it_can_use():
    presets = {**load_presets(), "MINE": ",".join(f"0.{n % 10}" for n in range(31)), "NAMED": "te=0.5", "TYPO": "1,x"}
    common = {"ALL", "NONE", "ALL0.5", "NAMED", "TYPO"}
    offered = {name: set(presets_for(family(name), presets)) for name in ("sd1", "sdxl", "anima", "flux1")}
    assert offered["anima"] == common | {"MINE"}
    assert offered["flux1"] == common
    assert {"GP1", "OUTS"} <= offered["sd1"] & offered["sdxl"] and "MINE" not in offered["sd1"] | offered["sdxl"]
    for of, names in offered.items():
        for name in names - {"TYPO"}:
            BlockWeights.parse(name, presets, family(of))
