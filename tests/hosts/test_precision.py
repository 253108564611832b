"""Casting where PyTorch has no autocast, and in blocks that are computed a second time in the backward pass."""

from __future__ import annotations

from contextlib import contextmanager

import torch
from torch import nn

from lib_lora.hosts.checkpointing import BlockCheckpointing
from lib_lora.hosts.precision import autocast


def test_a_device_without_autocast_goes_without() -> None:
    x = torch.ones(2, 2)
    with autocast("privateuseone", torch.float16):  # DirectML's
        assert (x @ x).dtype == torch.float32
    with autocast(torch.device("cpu"), torch.bfloat16):
        assert (x @ x).dtype == torch.bfloat16


class ResBlock(nn.Module):
    """By its name it is checkpointed; it fails outside of the web UI's own way of casting."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 2).double()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x)


def test_a_web_uis_own_casting_is_there_again_when_a_block_is_recomputed() -> None:
    block, seen = ResBlock(), []

    @contextmanager
    def manual_cast():  # as A1111's: it changes ``forward`` for the length of the block
        own = nn.Linear.forward
        nn.Linear.forward = lambda layer, x: own(layer, x.double())
        seen.append("cast")
        try:
            yield
        finally:
            nn.Linear.forward = own

    checkpointing = BlockCheckpointing([block], manual_cast)
    checkpointing.set(True)
    x = torch.ones(1, 2, requires_grad=True)
    with manual_cast():
        y = block(x)
    y.sum().backward()
    assert seen == ["cast", "cast"] and torch.equal(x.grad[0], block.layer.weight.sum(0).float())
