"""Borrowing a model for training, and giving it back as it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from lib_lora.hosts.standalone.model import StandaloneModel


@contextmanager
def borrowed(model: StandaloneModel) -> Iterator[StandaloneModel]:
    """The model frozen and in evaluation mode; flags and modes come back at the end, gradients do not stay."""
    parameters = [p for module in model.modules.values() for p in module.parameters()]
    submodules = [m for module in model.modules.values() for m in module.modules()]
    flags = [p.requires_grad for p in parameters]
    modes = [m.training for m in submodules]
    try:
        for module in model.modules.values():
            module.requires_grad_(False).eval()
        yield model
    finally:
        model.gradient_checkpointing(False)
        for parameter, flag in zip(parameters, flags, strict=True):
            parameter.requires_grad_(flag)
            parameter.grad = None
        for module, mode in zip(submodules, modes, strict=True):
            module.training = mode
