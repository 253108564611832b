"""Weights made or moved in PyTorch's inference mode, of which autograd can save nothing, become ordinary ones."""

from __future__ import annotations

import torch
from torch import nn

from lib_lora.models.borrowed import BorrowedForward, untracked


def thaw(module: nn.Module) -> int:
    """Replace untracked parameters and buffers by frozen copies, one at a time; returns how many parameters.

    Those of borrowed layers stay: autograd is not given them.

    A parameter that several modules share stays shared. The old one is free as soon as nobody else holds it.
    """
    layers = [m for m in module.modules() if isinstance(vars(m).get("forward"), BorrowedForward)]
    borrowed = {id(p) for layer in layers for p in layer.parameters(recurse=False)}
    copies: dict[int, nn.Parameter] = {}
    with torch.inference_mode(False), torch.no_grad():
        for submodule in module.modules():
            for name, old in submodule._parameters.items():
                if old is None or id(old) in borrowed or not untracked(old):
                    continue
                if id(old) not in copies:
                    copies[id(old)] = nn.Parameter(old.detach().clone(), requires_grad=False)
                submodule._parameters[name] = copies[id(old)]
            for name, buffer in submodule._buffers.items():
                if buffer is not None and untracked(buffer):
                    submodule._buffers[name] = buffer.detach().clone()
    return len(copies)
