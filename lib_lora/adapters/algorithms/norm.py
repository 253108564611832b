"""Norm: the change of a normalisation layer's scale and shift."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lib_lora.adapters.base import Adapter, LayerSpec, at_least_float32, missing, stored
from lib_lora.adapters.delta import Delta
from lib_lora.errors import UserError

WEIGHT, BIAS = "w_norm", "b_norm"


class Norm(Adapter):
    """What is added to scale and shift of a GroupNorm or LayerNorm over n channels.

    Attributes:
        weight: [n].
        bias: None, or [n]; A1111 only loads files that have both.
    """

    algorithm = "norm"
    param_names = (WEIGHT, BIAS)

    def __init__(self, weight: Tensor, bias: Tensor | None):
        super().__init__()
        self.weight = nn.Parameter(weight)
        self.bias = None if bias is None else nn.Parameter(bias)
        self.weight_shape = weight.shape

    @classmethod
    def create(
        cls,
        layer_shape: torch.Size,
        spec: LayerSpec,
        *,
        generator: torch.Generator | None = None,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> Norm:
        return cls(*(torch.zeros(layer_shape, dtype=dtype, device=device) for _ in (WEIGHT, BIAS)))

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], weight_shape: torch.Size | None = None) -> Norm:
        missing(tensors, WEIGHT)
        weight, bias = tensors[WEIGHT], tensors.get(BIAS)
        if weight.ndim != 1 or (bias is not None and bias.shape != weight.shape):
            raise UserError(f"w_norm {list(weight.shape)} cannot be the difference of a normalisation layer")
        adapter = cls(weight, bias)
        if weight_shape is not None:
            adapter.fit(weight_shape)
        return adapter

    @classmethod
    def from_delta(cls, delta: Delta) -> Norm:
        """From a ``delta`` of shape [n]."""
        return cls(delta.dense(), delta.bias)

    def tensors(self, dtype: torch.dtype | None = None) -> dict[str, Tensor]:
        params = {WEIGHT: self.weight, BIAS: self.bias}
        return {name: stored(p, dtype) for name, p in params.items() if p is not None}

    def forward_delta(self, x: Tensor, layer: nn.Module) -> Tensor:
        if isinstance(layer, nn.GroupNorm):
            return F.group_norm(x, layer.num_groups, self.weight, self.bias, layer.eps)
        return F.layer_norm(x, layer.normalized_shape, self.weight, self.bias, layer.eps)

    def delta(self, base: Tensor | None = None) -> Delta:
        bias = None if self.bias is None else at_least_float32(self.bias)
        return Delta(self.weight_shape, dense_part=at_least_float32(self.weight)[:, None], bias=bias)
