"""Prompts of an X/Y/Z plot: every tag with another epoch, weight or block weights."""

from __future__ import annotations

import pytest

from lib_lora.adapters.blocks import BlockWeights, load_presets
from lib_lora.errors import UserError
from lib_lora.tools.prompt_edits import with_blocks, with_epoch, with_weight
from lib_lora.tools.prompt_loras import split_prompt

NAMES = {"mira", "mira-000002", "mira-000004", "hat"}


@pytest.mark.parametrize(("epoch", "file"), [("2", "mira-000002"), (" 4 ", "mira-000004"), ("last", "mira")])
@pytest.mark.parametrize("now", ["mira", "mira-000002"])
def test_the_epoch_of_what_was_trained_changes(epoch: str, file: str, now: str) -> None:
    assert with_epoch(f"1girl <lora:{now}:0.8:lbw=OUTS>", epoch, NAMES) == f"1girl <lora:{file}:0.8:lbw=OUTS>"
    assert with_epoch(f"<lora:other:1> <lora:{now}:1>", epoch, NAMES) == f"<lora:other:1> <lora:{file}:1>"


def test_a_step_is_one_too() -> None:
    names = {*NAMES, "mira-step00000500"}
    assert with_epoch("<lora:mira-000002:1>", "s500", names) == "<lora:mira-step00000500:1>"
    assert with_epoch("<lora:mira-step00000500:1>", "2", names) == "<lora:mira-000002:1>"
    with pytest.raises(UserError) as error:
        with_epoch("<lora:mira:1>", "step 3", names)
    assert error.value.fix == "There are 2, 4, s500, last"


def test_an_epoch_that_is_not_there_lists_those_that_are() -> None:
    with pytest.raises(UserError) as error:
        with_epoch("<lora:mira:1>", "3", NAMES)
    assert error.value.fix == "There are 2, 4, last"
    with pytest.raises(UserError, match="is no epoch"):
        with_epoch("<lora:mira:1>", "late", NAMES)


def test_weights_replace_weights_only() -> None:
    assert with_weight("<lora:a:1>, <lora:b:te=1:unet=0.5:lbw=OUTS:stop=8>", 0.25) == (
        "<lora:a:0.25>, <lora:b:0.25:lbw=OUTS:stop=8>"
    )


def test_block_weights_are_added_or_replaced() -> None:
    assert with_blocks("<lora:a:0.8> <lora:b:1:lbw=INS> <lora:c>", "OUTS") == (
        "<lora:a:0.8:lbw=OUTS> <lora:b:1:lbw=OUTS> <lora:c:1:lbw=OUTS>"
    )
    _, (tag,) = split_prompt(with_blocks("<lora:a:0.8>", "1,0,1"))
    assert tag.blocks == "1,0,1" and tag.te_weight() == 0.8


@pytest.mark.parametrize("change", [lambda p: with_weight(p, 1), lambda p: with_blocks(p, "ALL")])
def test_without_a_tag_there_is_nothing_to_vary(change) -> None:
    with pytest.raises(UserError, match="no LoRA in the prompt"):
        change("1girl")


def test_names_with_dates_and_the_last_epoch_by_its_number():
    names = ["mira", "mira-000001", "mira-000002", "mira-step00000500", "style-240101", "style-240101-000002", "style"]
    for tag, epoch, file in [
        ("mira-000002", "1", "mira-000001"), ("mira", "3", "mira"), ("mira", "4.0", None),
        ("mira", " 2.0 ", "mira-000002"),
        ("mira-step00000500", "2", "mira-000002"), (" mira ", "last", "mira"), 
        ("style-240101", "2", "style-240101-000002"),
        ("style-240101", "last", "style-240101"), ("style-240101-000002", "last", "style-240101"),
    ]:  # fmt: skip
        if file:
            assert with_epoch(f"<lora:{tag}:0.8> a", epoch, names) == f"<lora:{file}:0.8> a"
        else:
            with pytest.raises(UserError, match=r"No LoRA of the prompt has an epoch"):
                with_epoch(f"<lora:{tag}:0.8> a", epoch, names)
    assert with_epoch("<lora:mira:1>", "7", names, lambda name: 7) == "<lora:mira:1>"
    with pytest.raises(UserError, match="is no epoch"):
        with_epoch("<lora:mira:1>", "2.5", names)


def test_another_weight_keeps_what_is_no_weight():
    assert with_weight("<lora:mira:te=0.5:unet=1:dyn=8:lbwe=X>", 0.7) == "<lora:mira:0.7:dyn=8:lbwe=X>"


@pytest.mark.parametrize(
    ("blocks", "rest"),
    [
        ("1,0,0.25,R,X+0.5", "0,1,0.75,R,X+0.5"),
        ("INS", "0,0,0,0,1,1,1,1,1,1,1,1,1,1,1,1,1"),
        ("MINE", "0,0,0.5"),
    ],
)
def test_placeholders_of_block_weights_plot(blocks, rest):
    prompt = "<lora:a:1:lbw=XYZ> <lora:b:0.5:1:ZYX> <lora:c:1:lbw=OUTS>"
    assert with_blocks(prompt, blocks, {**load_presets(), "MINE": "0.5,0|1,1,0.5"}) == (
        f"<lora:a:1:lbw={blocks}> <lora:b:0.5:1:lbw={rest}> <lora:c:1:lbw=OUTS>"
    )


def test_the_rest_of_named_blocks():
    found = split_prompt(with_blocks("<lora:a:1:ZYX>", "IN04-OUT05=0.25,M00.mlp=1"))[1][0]
    weights = BlockWeights.parse(found.blocks, {})
    assert (weights["BASE"], weights["IN05"], weights["M00.mlp"]) == (0, 0.75, 0)
