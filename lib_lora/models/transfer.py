"""Main memory to the graphics card."""

from __future__ import annotations

import torch
from torch import Tensor


def sent(tensor: Tensor, device: torch.device | str) -> Tensor:
    """``tensor`` on ``device``, without waiting for what the device still has to do.

    A graphics card fetches by itself only what lies in page-locked memory; a copy of anything else waits until all
    work before it is done. PyTorch keeps such memory for the next call, until the card has read it.
    """
    device = torch.device(device)
    if device.type == "cuda" and tensor.device.type == "cpu":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=device.type != "cpu")
