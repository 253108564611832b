"""Weights made or moved in PyTorch's inference mode, of which autograd can save nothing, become ordinary ones."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def untracked(tensor: Tensor) -> bool:
    """Whether a backward pass through ``tensor`` would fail.

    ``is_inference`` alone does not tell: moved out of inference mode a parameter says no, and still has no version.
    """
    try:
        return tensor.is_inference() or tensor._version is None
    except RuntimeError:  # "Inference tensors do not track version counter"
        return True


def thaw(module: nn.Module) -> int:
    """Replace every untracked parameter and buffer by a frozen copy, one at a time; returns how many there were.

    A parameter that several modules share stays shared. The old one is free as soon as nobody else holds it.
    """
    copies: dict[int, nn.Parameter] = {}
    with torch.inference_mode(False), torch.no_grad():
        for submodule in module.modules():
            for name, old in submodule._parameters.items():
                if old is None or not untracked(old):
                    continue
                if id(old) not in copies:
                    copies[id(old)] = nn.Parameter(old.detach().clone(), requires_grad=False)
                submodule._parameters[name] = copies[id(old)]
            for name, old in submodule._buffers.items():
                if old is not None and untracked(old):
                    submodule._buffers[name] = old.detach().clone()
    return len(copies)
