"""Transformer blocks and attention that a backward pass can go through; nothing changes where none is made."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

# Class of a block -> what it adds to in place, and the norms that have saved it by then
BLOCKS = {
    "BasicTransformerBlock": (("x",), ("norm_in", "norm1", "norm2", "norm3")),
    "DoubleStreamBlock": (("img", "txt"), ("img_norm1", "img_norm2", "txt_norm1", "txt_norm2")),
    "SingleStreamBlock": (("x",), ("pre_norm",)),
}


@contextmanager
def differentiable_blocks(unet: nn.Module) -> Iterator[None]:
    """Give the blocks of ``unet`` copies of what they would overwrite.

    They add to their input in place, while their norms have saved it for the backward pass, and gradient checkpointing
    has saved it for running the block again.
    """
    with ExitStack() as undo:
        for block in unet.modules():
            if type(block).__name__ not in BLOCKS:
                continue
            overwritten, norms = BLOCKS[type(block).__name__]
            block.forward = partial(_on_copies, block.forward, overwritten)
            undo.callback(delattr, block, "forward")
            for norm in (getattr(block, name, None) for name in norms):
                if isinstance(norm, nn.Module):
                    undo.callback(norm.register_forward_pre_hook(_copied).remove)
        yield


@contextmanager
def differentiable_attention(
    module: ModuleType, names: Sequence[str], substitute: Callable[..., Tensor]
) -> Iterator[None]:
    """Let ``substitute`` compute attention where gradients are; several back ends have no backward pass.

    Args:
        module: the host's module whose functions ``names`` the U-Net calls.
        names: attributes of ``module``; those that it lacks are left out.
        substitute: takes the same arguments.
    """
    before = {name: getattr(module, name) for name in names if hasattr(module, name)}
    try:
        for name, fast in before.items():
            setattr(module, name, partial(_attend, fast, substitute))
        yield
    finally:
        for name, fast in before.items():
            setattr(module, name, fast)


def _on_copies(forward: Callable[..., Any], names: Sequence[str], *args: Any, **kwargs: Any) -> Any:
    """``forward`` with copies of its first arguments, called ``names``, where gradients are made."""
    if torch.is_grad_enabled():
        args = (*(one.clone() for one in args[: len(names)]), *args[len(names) :])
        kwargs = {name: one.clone() if name in names else one for name, one in kwargs.items()}
    return forward(*args, **kwargs)


def _copied(_norm: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
    return (args[0].clone(), *args[1:]) if torch.is_grad_enabled() else None


def _attend(fast: Callable[..., Tensor], substitute: Callable[..., Tensor], *args: Any, **kwargs: Any) -> Tensor:
    return (substitute if torch.is_grad_enabled() else fast)(*args, **kwargs)
