"""Block weights of a tag with Block Weight's letters: X, R and U, in the tag and in presets."""

from __future__ import annotations

import pytest

from lib_lora.errors import UserError
from lib_lora.models.families import family
from lib_lora.tools.prompt_loras import split_prompt
from lib_lora.tools.prompt_networks import block_weights, random_weights

SD1 = family("sd1")
PRESETS = {
    "ROUT": "1,1,1,1,1,1,1,1,R,R,R,R,R,R,R,R,R|1,1,1,1,1,1,R,R,R,R,R,R",
    "DYN": "X,1,1,1,1,1,1,X+0.2,X-0.5,1,1,1,1,1,1,1,U",
    "OUTS": "OUT03-OUT11=1",
}


def weights(tag: str, seed: int = 1):
    return block_weights(split_prompt(tag)[1][0], PRESETS, SD1, seed)


@pytest.mark.parametrize("tag", ["<lora:a:1:DYN:0.7>", "<lora:a:1:lbw=DYN:x=0.7>", "<lora:a:0.5:1:DYN:x=0.7>"])
def test_x_is_what_the_tag_says(tag: str) -> None:
    found = weights(tag)
    assert (found["BASE"], found["M00"], round(found["OUT03"], 6), found["IN01"]) == (0.7, 0.9, 0.2, 1)
    assert weights("<lora:a:1:lbw=DYN>")["BASE"] == 1


def test_random_weights_are_those_of_the_seed_and_in_their_bounds() -> None:
    drawn = [weights("<lora:a:1:ROUT>", seed) for seed in range(40)]
    assert weights("<lora:a:1:ROUT>", 3) == drawn[3] != drawn[4]
    assert all(0 <= one["OUT05"] <= 1 and one["IN04"] == 1 for one in drawn)
    wide = [weights("<lora:a:1:lbw=" + ",".join("U" * 17) + ">", seed)["BASE"] for seed in range(40)]
    assert min(wide) < 0 and 1 < max(wide) <= 1.5 and all(round(one, 3) == one for one in wide)


def test_elements_go_over_the_blocks() -> None:
    found = weights(f"<lora:a:1:lbw={','.join('0' * 17)}:lbwe=ATTNDEEPON>")
    assert (found["IN05"], found["IN05.attn1"], found["OUT05.attn2"]) == (0, 1, 1)
    mine = block_weights(split_prompt("<lora:a:1:lbwe=MINE>")[1][0], {"MINE": "M00.mlp=0"}, SD1, 1)
    assert mine["M00.mlp"] == 0 and mine["M00"] == 1


@pytest.mark.parametrize(
    ("tag", "words"),
    [
        ("<lora:a:1:lbwe=SOME>", "No elements are called 'SOME'"),
        ("<lora:a:1:lbw=OUTS:lbwe=ROUT>", "No elements are called 'ROUT'"),
        ("<lora:a:1:lbw=XYZ>", "own plot"),
        ("<lora:a:1:ZYX>", "own plot"),
    ],
)
def test_names_of_another_program_are_explained(tag: str, words: str) -> None:
    with pytest.raises(UserError, match=words) as refused:
        weights(tag)
    assert refused.value.fix


def test_what_was_drawn_is_shown(tmp_path) -> None:
    (tag,) = split_prompt("<lora:a:1:lbw=1,1,1,1,1,1,1,1,R,1,1,1,1,1,1,1,1>")[1]
    value = block_weights(tag, {}, SD1, 5)["OUT03"]
    assert f"{value:g}" in random_weights(tag, tmp_path / "none.txt", SD1, 5)
    (plain,) = split_prompt("<lora:a:1:lbw=OUTS>")[1]
    assert random_weights(plain, tmp_path / "none.txt", SD1, 5) == ""


def test_other_words_are_refused() -> None:
    with pytest.raises(UserError, match="neither a block preset"):
        weights("<lora:a:1:lbw=1,Q,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1>")
