"""Modules frozen for a while."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from torch import nn


@contextmanager
def frozen(modules: Sequence[nn.Module]) -> Iterator[None]:
    """No gradients, evaluation mode; flags and modes come back at the end, gradients do not stay."""
    parameters = [p for module in modules for p in module.parameters()]
    submodules = [m for module in modules for m in module.modules()]
    flags = [p.requires_grad for p in parameters]
    modes = [m.training for m in submodules]
    try:
        for module in modules:
            module.requires_grad_(False).eval()
        yield
    finally:
        for parameter, flag in zip(parameters, flags, strict=True):
            parameter.requires_grad_(flag)
            parameter.grad = None
        for submodule, mode in zip(submodules, modes, strict=True):
            submodule.training = mode
