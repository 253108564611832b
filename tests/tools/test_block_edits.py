from __future__ import annotations

import pytest

from lib_lora.adapters.block_presets import import_lbw
from lib_lora.adapters.blocks import BLOCKS_17, BLOCKS_26, BlockWeights, load_presets
from lib_lora.errors import UserError
from lib_lora.models.families import family
from lib_lora.tools.block_edits import STEPS_KEPT, History, lbw_text
from lib_lora.tools.symptoms import BASE_STYLE, STYLE, SYMPTOMS, propose

GP1 = BlockWeights.parse("GP1", load_presets())


def test_history_goes_back_and_on():
    history = History(("a",)).record("b").record("b").record("c")
    assert history.entries == ("a", "b", "c")
    back = history.undo().undo().undo()
    assert (back.text, back.can_undo, back.can_redo) == ("a", False, True)
    assert back.redo().text == "b"
    branch = back.redo().record("d")
    assert branch.entries == ("a", "b", "d")
    assert not branch.can_redo
    assert branch.redo().text == "d"
    for number in range(2 * STEPS_KEPT):
        history = history.record(str(number))
    assert len(history.entries) == STEPS_KEPT
    assert history.text == str(2 * STEPS_KEPT - 1)


def test_a_range_is_scaled_with_its_kinds():
    weights = BlockWeights.parse("1," * 16 + "1,IN05.attn=0.5", {})
    scaled = weights.scaled(0.5, "IN04", "IN07")
    changed = {name: value for name, value in scaled.items() if value != weights[name]}
    assert changed == {"IN04": 0.5, "IN05": 0.5, "IN06": 0.5, "IN07": 0.5, "IN05.attn1": 0.25, "IN05.attn2": 0.25}
    with pytest.raises(UserError, match="comes after"):
        weights.scaled(2.0, "OUT03", "IN04")


def test_text_for_the_block_weight_extension():
    plain = lbw_text("mira", GP1, BLOCKS_17, 0.8)
    assert plain.tag == "<lora:mira:0.8:lbw=1,0.6,0.9,0.9,0.9,0.6,0.5,0.4,0.4,0.6,0.8,1,1.1,1.1,1.1,1.1,1.1>"
    assert plain.elements == ""
    mixed = lbw_text("my lora", BlockWeights.parse("IN04.attn=0.5,BASE.mlp=0", {}), BLOCKS_17)
    assert mixed.tag.endswith(",1:lbwe=my_lora_elements>")
    assert mixed.elements == "my_lora_elements:IN04:attn1:0.5,IN04:attn2:0.5,BASE:mlp:0"
    read = BlockWeights.parse(import_lbw(mixed.elements).presets["my_lora_elements"], {})
    assert (read["IN04.attn1"], read["IN04.attn2"], read["BASE.mlp"]) == (0.5, 0.5, 0)


# The table of the style guide: symptom, measure, role -> positions from 1 to 17, and the sign
GUIDE = [
    ("style", 0, BASE_STYLE, {1}, 1),
    ("style", 0, STYLE, set(), 0),
    ("style", 1, STYLE, {13, 14, 15, 16, 17}, 1),
    ("style", 1, BASE_STYLE, {13, 14, 15, 16, 17}, 1),
    ("limbs", 0, STYLE, {1}, -1),
    ("limbs", 1, STYLE, {6, 7, 8, 9, 10, 11}, -1),
    ("hands", 0, STYLE, {4, 5, 6, 7}, -1),
    ("hands", 0, BASE_STYLE, {4, 5, 6, 7}, -1),
    ("face", 0, STYLE, {6, 7, 8, 9, 10, 11}, 1),
    ("clothing", 0, STYLE, {3, 4, 5}, -1),
    ("chaotic", 0, STYLE, {3, 4, 5}, -1),
    ("chaotic", 1, STYLE, set(), 0),
]


@pytest.mark.parametrize(("key", "number", "role", "positions", "sign"), GUIDE)
def test_symptoms_follow_the_guide(key, number, role, positions, sign):
    found = propose(key, number, GP1, 1.0, role)
    listed = {name: pair for name, pair in found.changes.items() if name in BLOCKS_17}
    assert set(listed) == {BLOCKS_17[position - 1] for position in positions}
    for old, new in listed.values():
        assert new - old == pytest.approx(0.1 * sign)
    assert {name: new for name, (_, new) in found.changes.items()}.items() <= found.weights.items()
    assert found.last == (number == len(next(s for s in SYMPTOMS if s.key == key).measures) - 1)


def test_a_measure_says_what_the_other_lora_needs():
    assert propose("style", 0, GP1, 1.0).other == "raise BASE"
    assert propose("style", 0, GP1, 1.0).empty
    assert propose("style", 1, GP1, 1.0).other == "raise OUT07 to OUT11"
    assert propose("limbs", 0, GP1, 1.0, BASE_STYLE).other == "lower BASE"
    assert propose("chaotic", 1, GP1, 1.0).weight == (1.0, 0.8)
    assert propose("chaotic", 1, GP1, 1.0, BASE_STYLE).weight == (1.0, 1.0)


def test_measures_stop_at_nothing_and_take_unlisted_blocks_along():
    low = BlockWeights.read({**dict.fromkeys(BLOCKS_26, 0.05), "IN02.attn": 0.5})
    found = propose("clothing", 0, low, 1.0)
    assert {name: new for name, (_, new) in found.changes.items()} == {
        "IN02": 0.0, "IN03": 0.0, "IN04": 0.0, "IN05": 0.0, "IN06": 0.0, "IN02.attn1": 0.4, "IN02.attn2": 0.4,
    }  # fmt: skip
    with pytest.raises(UserError, match="SD1"):
        propose("face", 0, BlockWeights.read([1.0] * 26, family("sdxl")), 1.0, STYLE)
