"""What storing a layer in fewer bits costs."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lib_lora.adapters.build import adapter_from
from lib_lora.adapters.finite import is_finite
from lib_lora.adapters.layers import Params
from lib_lora.adapters.tall import column_norms, product_norm

ENOUGH = 7e-4  # an estimate below this is good enough, for none is reported below 1e-3; above, it is calculated
PROBES = 16


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
    about = _probed_norm(exact.up, exact.down)
    if about == 0:
        return 0.0
    # ud − u'd' = (u − u')d + u'(d − d'): two small parts of rounding errors that have nothing to do with each other,
    # nor those of one column with those of another
    up, down = exact.up - stored.up, exact.down - stored.down
    estimate = math.hypot(_column_by_column(up, exact.down), _column_by_column(stored.up, down)) / about
    if estimate <= ENOUGH:
        return estimate
    size = product_norm(exact.up, exact.down)
    return math.hypot(product_norm(up, exact.down), product_norm(stored.up, down)) / size if size > 0 else 0.0


def _probed_norm(up: Tensor, down: Tensor) -> float:
    """The norm of ``up`` @ ``down`` to some 20 %, from random vectors (Hutchinson 1989); 0 only for a zero product."""
    probes = torch.randn(down.shape[1], PROBES, generator=torch.Generator().manual_seed(0), dtype=down.dtype)
    return float((up @ (down @ probes)).norm()) / math.sqrt(PROBES)


def _column_by_column(up: Tensor, down: Tensor) -> float:
    """The norm of ``up`` @ ``down`` if the terms of its sum over the rank were orthogonal."""
    return float((column_norms(up) * down.norm(dim=1)).norm())


def _relative_error(rounded: Tensor, exact: Tensor) -> float:
    size = exact.detach().double().norm().item()
    return (rounded.double() - exact.double()).norm().item() / size if size > 0 else 0.0
