"""Ranks of single blocks: as text, and in the network that a run makes."""

from __future__ import annotations

import pytest
import torch

from lib_lora.adapters.selection import rank_and_alpha, select, selects
from lib_lora.errors import UserError
from lib_lora.models.families import family
from lib_lora.training.block_ranks import BlockRanks, format_block_ranks, parse_block_ranks
from lib_lora.training.config import TrainConfig
from lib_lora.training.run_metadata import network_spec

SD1 = family("sd1")

LINEAR = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q"  # of IN01
KERNEL = "lora_unet_down_blocks_0_resnets_0_conv1"  # of IN01
IN04 = "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn1_to_q"


def test_text_and_back():
    found = parse_block_ranks("IN01-IN02=4; M00=8/2, te = 0", "block_ranks")
    assert found.ranks == {"IN01": 4, "IN02": 4, "M00": 8, "BASE": 0} and found.alphas == {"M00": 2.0}
    assert parse_block_ranks(format_block_ranks(found), "block_ranks") == found
    assert parse_block_ranks(" ", "block_ranks") == BlockRanks() and format_block_ranks(BlockRanks()) == ""


@pytest.mark.parametrize("text", ["IN01", "IN01=x", "IN99=4", "IN01=-1", "IN01=4/0", "IN01=4/nan", "4,4,4", "IN01=600"])
def test_what_is_no_rank_names_the_setting(text):
    with pytest.raises(UserError) as refused:
        TrainConfig(name="a", data_dir="b", block_ranks=text).check()
    assert refused.value.where == "block_ranks"


def test_layers_of_a_run_have_the_ranks_of_their_blocks():
    config = TrainConfig(rank=8, alpha=4.0, conv_rank=6, conv_alpha=3.0, block_ranks="IN01=2/1, IN04=0")
    spec = network_spec(config)
    square, kernel = torch.Size([64, 64]), torch.Size([64, 64, 3, 3])
    assert rank_and_alpha(spec, LINEAR, square) == (2, 1.0) and not selects(spec, IN04, SD1)
    with_kernels = network_spec(TrainConfig(rank=8, alpha=4.0, conv_rank=6, conv_alpha=3.0, conv_block_ranks="IN01=2"))
    assert rank_and_alpha(with_kernels, KERNEL, kernel) == (2, 1.0) and rank_and_alpha(
        with_kernels, LINEAR, square
    ) == (8, 4.0)
    assert not selects(network_spec(TrainConfig(conv_rank=6, conv_block_ranks="IN01=0")), KERNEL, SD1)


def test_a_regular_expression_for_layers_that_takes_too_long_is_stopped(monkeypatch):
    monkeypatch.setattr("lib_lora.patterns.SECONDS", 0.5)
    layers = {LINEAR: torch.nn.Linear(4, 4)}
    with pytest.raises(UserError, match="takes longer") as refused:
        select(layers, network_spec(TrainConfig(layers=r"(\w+_?)+$x")))
    assert refused.value.where == "layers"
    assert list(
        select({**layers, IN04: torch.nn.Linear(4, 4)}, network_spec(TrainConfig(layers="blocks_1.*attn1")))
    ) == [IN04]
    with pytest.raises(UserError, match="no choice of layers"):
        TrainConfig(name="a", data_dir="b", layers="(").check()
