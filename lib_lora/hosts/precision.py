"""Autocast where PyTorch has it."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch


def autocast(device: torch.device | str, dtype: torch.dtype) -> AbstractContextManager[Any]:
    """``torch.autocast``; nothing on devices that it does not know, such as DirectML's, or not in ``dtype``.

    There, layers of the web UI cast their weights to their input, and ours cast their result to what it is added to.
    """
    try:
        return torch.autocast(torch.device(device).type, dtype)
    except (RuntimeError, ValueError, AssertionError):  # which of them depends on the version
        return nullcontext()
