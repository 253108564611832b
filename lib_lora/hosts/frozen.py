"""Modules frozen for a while."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def frozen(modules: Sequence[nn.Module]) -> Iterator[None]:
    """No gradients, evaluation mode; flags and modes come back at the end, gradients do not stay.

    Parameters are remembered by where they are: a host may put others there meanwhile, and none is kept alive.
    """
    submodules = [m for module in modules for m in module.modules()]
    modes = [m.training for m in submodules]
    flags = [(m, name, p.requires_grad) for m in submodules for name, p in m._parameters.items() if p is not None]
    try:
        for module in modules:
            module.requires_grad_(False).eval()
        yield
    finally:
        for module, name, flag in flags:
            parameter = module._parameters.get(name)
            if parameter is not None:
                with torch.inference_mode(parameter.is_inference()):  # only there it may be set on such a tensor
                    parameter.requires_grad_(flag)
                parameter.grad = None
        for submodule, mode in zip(submodules, modes, strict=True):
            submodule.training = mode
