"""Gradient checkpointing (Chen et al. 2016, arXiv:1604.06174) that adapters survive.

ldm's own checkpoint hands the backward pass only the block's own parameters, which are frozen here, so an adapter that
acts through hooks gets no gradient; that of transformers 4 needs an input that has one. PyTorch's non-reentrant
checkpoint has neither limit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

BLOCKS = ("ResBlock", "BasicTransformerBlock", "CLIPEncoderLayer")
ABSENT = object()


class BlockCheckpointing:
    """Switches checkpointing of the blocks of some models on and off.

    Args:
        modules: models whose blocks, told by their class names, are checkpointed.
    """

    def __init__(self, modules: Iterable[nn.Module]):
        self._blocks = [m for module in modules for m in module.modules() if type(m).__name__ in BLOCKS]
        self._before: list[tuple[nn.Module, Any]] = []

    def set(self, on: bool) -> None:
        """Replace the blocks' ``forward``, or give them back the one they had."""
        if on and not self._before:
            self._before = [(block, vars(block).get("forward", ABSENT)) for block in self._blocks]
            for block in self._blocks:
                block.forward = partial(_checkpointed, block.forward)
        elif not on:
            while self._before:
                block, forward = self._before.pop()
                del block.forward
                if forward is not ABSENT:
                    block.forward = forward


def _checkpointed(forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    if not torch.is_grad_enabled():
        return forward(*args, **kwargs)
    return checkpoint(forward, *args, use_reentrant=False, **kwargs)


@contextmanager
def own_checkpointing_off(module: nn.Module) -> Iterator[None]:
    """ldm's gradient checkpointing switched off: with frozen weights it loses the gradients of adapters."""
    found = [
        (m, flag)
        for m in module.modules()
        for flag in ("use_checkpoint", "checkpoint")
        if vars(m).get(flag) is True  # ResBlock and BasicTransformerBlock name their switch differently
    ]
    try:
        for m, flag in found:
            setattr(m, flag, False)
        yield
    finally:
        for m, flag in found:
            setattr(m, flag, True)
