"""The user's presets file, and lists of the Block Weight extension."""

from __future__ import annotations

import pytest

from lib_lora.adapters.block_presets import import_lbw, load_presets, save_presets
from lib_lora.adapters.blocks import BlockWeights
from lib_lora.errors import UserError

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
FLUX:{",".join("1" * 61)}
ODD:{",".join("1" * 62)}
"""
    found = import_lbw(text)
    assert list(found.presets) == ["ALL", "OUTX", "FLUX"]
    assert "random" in found.skipped["RANDOM"]
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
