"""Full difference: ΔW itself, and that of the bias."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from lib_lora.adapters.base import Adapter, LayerSpec, apply_weight, at_least_float32, missing, stored
from lib_lora.adapters.delta import Delta
from lib_lora.errors import UserError

DIFF, BIAS = "diff", "diff_b"


class Full(Adapter):
    """A layer whose weight is changed freely; what native fine-tuning and exact sums of other algorithms are.

    Attributes:
        diff: [o, i] or [o, i, kh, kw].
        bias: None, or [o].
    """

    algorithm = "full"
    param_names = (DIFF, BIAS, "alpha")  # alpha is written by some trainers and read by none

    def __init__(self, diff: Tensor, bias: Tensor | None = None):
        super().__init__()
        self.diff = nn.Parameter(diff)
        self.bias = None if bias is None else nn.Parameter(bias)
        self.weight_shape = diff.shape

    @classmethod
    def create(
        cls,
        layer_shape: torch.Size,
        spec: LayerSpec,
        *,
        generator: torch.Generator | None = None,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> Full:
        bias = torch.zeros(layer_shape[0], dtype=dtype, device=device) if spec.bias else None
        return cls(torch.zeros(layer_shape, dtype=dtype, device=device), bias)

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], weight_shape: torch.Size | None = None) -> Full:
        missing(tensors, DIFF)
        diff, bias = tensors[DIFF], tensors.get(BIAS)
        if diff.ndim not in (2, 4) or (bias is not None and bias.shape != diff.shape[:1]):
            raise UserError(f"diff {list(diff.shape)} cannot be the difference of a layer")
        adapter = cls(diff, bias)
        if weight_shape is not None:
            adapter.fit(weight_shape)
        return adapter

    @classmethod
    def from_delta(cls, delta: Delta) -> Full:
        """The exact ΔW of any algorithm."""
        return cls(delta.dense(), delta.bias)

    def tensors(self, dtype: torch.dtype | None = None) -> dict[str, Tensor]:
        params = {DIFF: self.diff, BIAS: self.bias}
        return {name: stored(p, dtype) for name, p in params.items() if p is not None}

    def forward_delta(self, x: Tensor, layer: nn.Module) -> Tensor:
        return apply_weight(x, self.diff, layer, self.bias)

    def delta(self, base: Tensor | None = None) -> Delta:
        bias = None if self.bias is None else at_least_float32(self.bias)
        return Delta(self.weight_shape, dense_part=at_least_float32(self.diff).flatten(1), bias=bias)

    def reshape(self, weight_shape: torch.Size) -> None:
        self.diff.data = self.diff.data.reshape(weight_shape)
