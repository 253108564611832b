"""What storing a layer in fewer bits costs."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lib_lora.adapters.build import adapter_from
from lib_lora.adapters.finite import is_finite
from lib_lora.adapters.layers import Params
from lib_lora.adapters.tall import product_norm

ENOUGH = 5e-4  # an estimate below this is good enough; above, the error is calculated


def rounding_loss(params: Params, dtype: torch.dtype) -> float:
    """Relative error of a layer's ΔW when its tensors are stored in ``dtype``; infinite where a value overflows."""
    adapter = adapter_from(params)
    rounded = adapter_from(adapter.tensors(dtype))
    if not all(is_finite(p) for p in rounded.parameters()):
        return float("inf")
    if adapter.needs_base:
        return max(map(_relative_error, rounded.parameters(), adapter.parameters()))
    exact, stored = adapter.delta(), rounded.delta()
    if exact.up is None or exact.down is None or exact.rank is None or exact.rank != stored.rank:
        size = exact.norm()
        return (exact - stored).norm() / size if size > 0 else 0.0
    assert stored.up is not None and stored.down is not None
    size = product_norm(exact.up, exact.down)
    if size == 0:
        return 0.0
    # ud − u'd' = (u − u')d + u'(d − d'): two small parts of rounding errors that have nothing to do with each other,
    # nor those of one column with those of another
    up, down = exact.up - stored.up, exact.down - stored.down
    estimate = math.hypot(_column_by_column(up, exact.down), _column_by_column(stored.up, down)) / size
    if estimate <= ENOUGH:
        return estimate
    return math.hypot(product_norm(up, exact.down), product_norm(stored.up, down)) / size


def _column_by_column(up: Tensor, down: Tensor) -> float:
    """The norm of ``up`` @ ``down`` if the terms of its sum over the rank were orthogonal."""
    return float((up.norm(dim=0) * down.norm(dim=1)).norm())


def _relative_error(rounded: Tensor, exact: Tensor) -> float:
    size = exact.detach().double().norm().item()
    return (rounded.double() - exact.double()).norm().item() / size if size > 0 else 0.0
