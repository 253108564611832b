"""Adapters from a file's tensors and for a model's layers: the one place that knows which class and which wrapper."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from lib_lora.adapters.algorithms import algorithm, algorithm_for
from lib_lora.adapters.algorithms.norm import Norm
from lib_lora.adapters.base import Adapter, LayerSpec
from lib_lora.adapters.dora import SCALE, DoRA
from lib_lora.adapters.layers import NUMBERS
from lib_lora.adapters.selection import NetworkSpec, rank_and_alpha
from lib_lora.models.weights import computing_device, fetch_weight, weight_shape


def adapter_from(tensors: Mapping[str, Tensor], weight_shape: torch.Size | None = None) -> Adapter:
    """The adapter of one layer of a file.

    Args:
        tensors: parameter name -> tensor.
        weight_shape: of the adapted weight, where it is known.

    Raises:
        UserError: an unknown algorithm, or tensors that do not fit together.
    """
    tensors = _of_one_type(tensors)
    plain = {name: tensor for name, tensor in tensors.items() if name != SCALE}
    adapter = algorithm_for(plain).from_tensors(plain)
    if weight_shape is not None:
        adapter.fit(weight_shape)
    return DoRA.read(adapter, tensors[SCALE]) if SCALE in tensors else adapter


def _of_one_type(tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Factors of different precision cannot be multiplied: then all are widened."""
    types = {t.dtype for name, t in tensors.items() if name not in NUMBERS and t.is_floating_point()}
    if len(types) < 2:
        return tensors
    wide = torch.float64 if torch.float64 in types else torch.float32
    return {name: tensor.to(wide) if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}


def new_adapter(
    key: str, layer: nn.Module, spec: NetworkSpec, generator: torch.Generator, dtype: torch.dtype = torch.float32
) -> Adapter:
    """A fresh adapter, with ΔW = 0, for the layer called ``key``; on the layer's device."""
    shape, device = weight_shape(layer), computing_device(layer)
    if len(shape) == 1:
        return Norm.create(shape, LayerSpec(), generator=generator, dtype=dtype, device=device)
    rank, alpha = rank_and_alpha(spec, key, shape)
    layer_spec = LayerSpec(
        rank=rank,
        alpha=alpha,
        tucker=spec.tucker,
        factor=spec.factor,
        decompose_both=spec.decompose_both,
        full_matrix=spec.full_matrix,
        constraint=spec.constraint,
        bias=layer.bias is not None,
    )
    cls = algorithm(spec.algorithm)
    adapter = cls.create(shape, layer_spec, generator=generator, dtype=dtype, device=device)
    return DoRA.around(adapter, fetch_weight(layer, None, device)) if spec.dora else adapter
