"""What storing a layer in fewer bits costs."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor

from lib_lora.adapters.algorithms.lora import ALPHA, DOWN, UP
from lib_lora.adapters.build import adapter_from
from lib_lora.adapters.finite import is_finite
from lib_lora.adapters.layers import Params
from lib_lora.adapters.tall import column_norms, product_norm

ENOUGH = 7e-4  # an estimate below this is good enough, for none is reported below 1e-3; above, it is calculated
SURELY = 9e-4  # and so is a bound below this, which no rounding to nearest comes near
PROBES = 16


def rounding_loss(params: Params, dtype: torch.dtype, values: Tensor | None = None) -> float:
    """Relative error of a layer's ΔW when its tensors are stored in ``dtype``; infinite where a value overflows.

    Where it is clearly too small to be told, an estimate from above.

    Args:
        values: the singular values of a ΔW from :meth:`Delta.with_spectrum`: then the columns of both factors are
            orthogonal, and as long as the roots of the first of these.
    """
    if params.keys() == {UP, DOWN, ALPHA}:
        bound = _bound(params[UP].detach().flatten(1), params[DOWN].detach().flatten(1), dtype, values)
        if bound <= SURELY:
            return bound
    return _calculated(params, dtype)


def _calculated(params: Params, dtype: torch.dtype) -> float:
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


def _bound(up: Tensor, down: Tensor, dtype: torch.dtype, values: Tensor | None) -> float:
    """What rounding each number to the nearest of ``dtype`` costs at most, from the norms alone; NaN: not known."""
    if min(t.itemsize for t in (up.dtype, down.dtype, dtype)) < 2:  # 8-bit floats, which torch does not promote
        return math.nan
    own = torch.promote_types(up.dtype, down.dtype)
    if torch.promote_types(own, dtype) == dtype:
        return 0.0
    if own not in (torch.float32, torch.float64):
        return math.nan
    number = torch.finfo(dtype)
    if values is None:
        up, down = up.to(own), down.to(own)
        sizes, others, about = column_norms(up), down.norm(dim=1), _probed_norm(up, down)
    else:
        values = values[: up.shape[1]]
        sizes, others, about = values.sqrt(), values.sqrt(), float(values.norm())
    if about == 0 or not (sizes.max() <= number.max and others.max() <= number.max):
        return math.nan
    share, least = number.eps / 2, number.smallest_normal * number.eps / 2  # of a normal number, of any other
    off = share * sizes + least * math.sqrt(up.shape[0])
    other_off = share * others + least * math.sqrt(down.shape[1])
    return math.hypot(float((off * others).norm()), float(((sizes + off) * other_off).norm())) / about


def _probed_norm(up: Tensor, down: Tensor) -> float:
    """The norm of ``up`` @ ``down`` to some 20 %, from random vectors (Hutchinson 1989); 0 only for a zero product."""
    return float((up @ (down @ _probes(down.shape[1], down.dtype))).norm()) / math.sqrt(PROBES)


@lru_cache(maxsize=16)
def _probes(width: int, dtype: torch.dtype) -> Tensor:
    return torch.randn(width, PROBES, generator=torch.Generator().manual_seed(0), dtype=dtype)


def _column_by_column(up: Tensor, down: Tensor) -> float:
    """The norm of ``up`` @ ``down`` if the terms of its sum over the rank were orthogonal."""
    return float((column_norms(up) * down.norm(dim=1)).norm())


def _relative_error(rounded: Tensor, exact: Tensor) -> float:
    size = exact.detach().double().norm().item()
    return (rounded.double() - exact.double()).norm().item() / size if size > 0 else 0.0
