"""Gradient checkpointing (Chen et al. 2016, arXiv:1604.06174) that adapters survive.

ldm's own checkpoint hands the backward pass only the block's own parameters, which are frozen here, so an adapter that
acts through hooks gets no gradient; that of transformers 4 needs an input that has one. PyTorch's non-reentrant
checkpoint has neither limit.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from lib_lora.adapters.blocks import block_of

BLOCKS = ("ResBlock", "ResnetBlock2D", "BasicTransformerBlock", "CLIPEncoderLayer", "ResidualAttentionBlock")
ABSENT = object()
Precision = Callable[[], AbstractContextManager[Any]]


class BlockCheckpointing:
    """Switches checkpointing of the blocks of some models on and off.

    Args:
        modules: models whose blocks are checkpointed, told by their class names, or of a transformer its stacks.
        precision: what a block is computed in besides PyTorch's autocast, which its checkpoint takes along by itself. A
            web UI's own way of casting, on devices without autocast, ends with the forward pass.
    """

    def __init__(self, modules: Iterable[nn.Module], precision: Precision = nullcontext):
        self._precision = precision
        self._blocks = [block for module in modules for block in _blocks_of(module)]
        self._before: list[tuple[nn.Module, Any]] = []

    def set(self, on: bool, among: set[nn.Module] | None = None) -> None:
        """Replace the blocks' ``forward``, or give them back the one they had.

        Args:
            among: only blocks that have one of these layers in them; None: all.
        """
        while self._before:
            block, forward = self._before.pop()
            del block.forward
            if forward is not ABSENT:
                block.forward = forward
        for block in self._blocks if on else ():
            if among is None or not among.isdisjoint(block.modules()):
                self._before.append((block, vars(block).get("forward", ABSENT)))
                block.forward = partial(_checkpointed, self._precision, block.forward)


def _blocks_of(model: nn.Module) -> list[nn.Module]:
    known = [m for m in model.modules() if type(m).__name__ in BLOCKS]
    stacks = (stack for stack in model.children() if isinstance(stack, nn.ModuleList))
    return known or [block for stack in stacks for block in stack]


def layers_in(layers: Mapping[str, nn.Module], blocks: Collection[str]) -> set[nn.Module] | None:
    """Those of ``layers`` (kohya key -> module) in ``blocks`` (names of :mod:`lib_lora.adapters.blocks`); None for all.

    Raises:
        UserError: a layer's block is not known.
    """
    return {layer for key, layer in layers.items() if block_of(key) in blocks} if blocks else None


def _checkpointed(precision: Precision, forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    if not torch.is_grad_enabled():
        return forward(*args, **kwargs)
    return checkpoint(forward, *args, use_reentrant=False, context_fn=lambda: (nullcontext(), precision()), **kwargs)


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
