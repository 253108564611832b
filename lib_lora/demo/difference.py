"""A tuned model as its difference from another one, in eight bits: a quarter of its size."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

STEP = ".step"  # after a weight's name: what 1 of its eight bits stands for, row by row
LEVELS = 127


def difference(tuned: Mapping[str, Tensor], base: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """``tuned`` − ``base``, of weights that both have and that differ.

    Returns:
        Matrices and kernels [o, …] as int8, with a float32 step [o] beside them; what has one axis as float16.
    """
    stored: dict[str, Tensor] = {}
    for name in sorted(tuned.keys() & base.keys()):
        change = (tuned[name].detach().float() - base[name].float()).contiguous()
        if not change.any():
            continue
        if change.ndim < 2:
            stored[name] = change.half()
            continue
        step = change.flatten(1).abs().amax(1) / LEVELS
        stored[name] = (change / _rows(step, change).clamp_min(torch.finfo(step.dtype).tiny)).round().to(torch.int8)
        stored[name + STEP] = step
    return stored


def added(stored: Mapping[str, Tensor], base: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """All weights of ``base``, in their types, changed by what :func:`difference` has stored."""
    whole = dict(base)
    for name, change in stored.items():
        if name.endswith(STEP):
            continue
        change = change.float()
        if name + STEP in stored:
            change = change * _rows(stored[name + STEP], change)
        whole[name] = (base[name].float() + change).to(base[name].dtype)
    return whole


def _rows(step: Tensor, like: Tensor) -> Tensor:
    """``step`` [o] as [o, 1, …], of as many axes as ``like`` has."""
    return step.view(-1, *[1] * (like.ndim - 1))
