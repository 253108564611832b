"""Layers that some files split and the model does not: q, k and v as one, exactly.

ΔW of the whole is the parts' ΔW on top of each other; of low-rank parts that is diag(up_q, up_k, up_v) @ (down_q;
down_k; down_v), or, where all parts share one ``down``, (up_q; up_k; up_v) @ down. Source: sd-scripts
``convert_flux_lora.py`` does the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from lib_lora.adapters.algorithms.full import Full
from lib_lora.adapters.algorithms.lora import LoRA
from lib_lora.adapters.base import ContradictionError, at_least_float32
from lib_lora.adapters.build import adapter_from
from lib_lora.adapters.delta import Delta
from lib_lora.errors import UserError

Params = Mapping[str, Tensor]
_PLAIN = {"lora_up.weight", "lora_down.weight", "alpha"}


def join(parts: Mapping[int, Params], shares: Sequence[int]) -> dict[str, Tensor]:
    """The parameters of a layer from those of its parts; LoRA stays LoRA, in its precision.

    Args:
        parts: number of the part -> parameter name -> tensor; parts that a file lacks are not changed by it.
        shares: rows of the parts in proportion, for those that are missing.

    Raises:
        UserError: an algorithm that needs the weights of each part, or parts of different widths.
    """
    for params in parts.values():
        adapter_from(params)  # a part that makes no matrix is told as such
    if all(set(params) <= _PLAIN and "lora_up.weight" in params for params in parts.values()):
        return _joined_lora(parts, shares)
    deltas = {}
    for part, params in parts.items():
        adapter = adapter_from(params)
        if adapter.needs_base or "dora_scale" in params:
            raise UserError("This algorithm needs the weights of q, k and v apart", fix="Bake it into LoRA first.")
        deltas[part] = adapter.delta()
    rows = _rows({part: delta.shape[0] for part, delta in deltas.items()}, shares)
    width = _same([delta.shape[1:].numel() for delta in deltas.values()])
    rest = next(iter(deltas.values())).shape[1:]
    shape = torch.Size((sum(rows), *rest))
    biases = [deltas[p].bias if p in deltas else None for p in range(len(rows))]
    bias = None
    if any(part is not None for part in biases):
        bias = torch.cat([torch.zeros(n) if part is None else part for n, part in zip(rows, biases, strict=True)])
    if all(delta.rank is not None for delta in deltas.values()):
        ups = [deltas[part].up if part in deltas else None for part in range(len(shares))]
        downs = [delta.down for _, delta in sorted(deltas.items()) if delta.down is not None]
        joined = Delta(shape, up=_diagonal(ups, rows), down=torch.cat(downs), bias=bias)
        if joined.rank and joined.rank < min(joined.matrix_shape):
            return LoRA.from_delta(joined).tensors()
    dense = [deltas[p].matrix() if p in deltas else torch.zeros(n, width) for p, n in enumerate(rows)]
    return Full.from_delta(Delta(shape, dense_part=torch.cat(dense), bias=bias)).tensors()


def _joined_lora(parts: Mapping[int, Params], shares: Sequence[int]) -> dict[str, Tensor]:
    types = {params[name].dtype for params in parts.values() for name in ("lora_up.weight", "lora_down.weight")}
    wide = at_least_float32 if len(types) > 1 else Tensor.detach  # torch puts no 8-bit floats beside others
    ups = {part: _factor(wide(params["lora_up.weight"])) for part, params in parts.items()}
    downs = {part: _factor(wide(params["lora_down.weight"])) for part, params in parts.items()}
    scales = {part: _scale(params) for part, params in parts.items()}
    rows = _rows({part: len(up) for part, up in ups.items()}, shares)
    _same([down.shape[1:].numel() for down in downs.values()])
    first = next(iter(downs.values()))
    scale = next(iter(scales.values()))
    if any(other != scale for other in scales.values()):  # one alpha cannot say them all
        ups = {part: up.float() * scales[part] for part, up in ups.items()}
        scale = 1.0
    if all(down.shape == first.shape and torch.equal(down.float(), first.float()) for down in downs.values()):
        empty = next(iter(ups.values()))
        up = torch.cat([ups[part] if part in ups else empty.new_zeros(n, len(first)) for part, n in enumerate(rows)])
        down = first
    else:
        up = _diagonal([ups.get(part) for part in range(len(shares))], rows)
        down = torch.cat([downs[part] for part in sorted(downs)])
    alpha = torch.tensor(scale * len(down), dtype=torch.float32)
    return {"lora_up.weight": up, "lora_down.weight": down, "alpha": alpha}


def _factor(tensor: Tensor) -> Tensor:
    """A factor as a matrix, where it was stored as that of a 1×1 convolution."""
    if tensor.shape[2:].numel() != 1:
        raise ContradictionError(f"A factor {list(tensor.shape)} is of a convolution, and q, k and v are linear")
    return tensor.flatten(1)


def _scale(params: Params) -> float:
    rank = len(params["lora_down.weight"])
    alpha = params["alpha"].item() if "alpha" in params else 0  # 0 means the rank, as in kohya's trainer
    return alpha / rank if alpha else 1.0


def _rows(known: Mapping[int, int], shares: Sequence[int]) -> list[int]:
    """Rows of all parts; those of a missing one in proportion to a known one."""
    part, rows = next(iter(known.items()))
    return [known.get(p, rows * share // shares[part]) for p, share in enumerate(shares)]


def _diagonal(ups: Sequence[Tensor | None], rows: Sequence[int]) -> Tensor:
    """``[sum of rows, sum of ranks]`` with the parts along its diagonal."""
    present = [up for up in ups if up is not None]
    out = present[0].new_zeros(sum(rows), sum(up.shape[1] for up in present))
    top = left = 0
    for up, height in zip(ups, rows, strict=True):
        if up is not None:
            out[top : top + height, left : left + up.shape[1]] = up
            left += up.shape[1]
        top += height
    return out


def _same(widths: Sequence[int]) -> int:
    if len(set(widths)) != 1:
        raise UserError(f"Parts of one layer have different inputs: {sorted(set(widths))}", fix="The file is damaged.")
    return widths[0]
