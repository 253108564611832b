"""Full difference: ΔW itself, and that of the bias."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from typing_extensions import override

from lib_lora.adapters.base import LayerSpec, apply_weight
from lib_lora.adapters.difference import Difference


class Full(Difference):
    """A layer whose weight is changed freely; what native fine-tuning and exact sums of other algorithms are.

    Attributes:
        weight: [o, i] or [o, i, kh, kw].
        bias: None, or [o].
    """

    algorithm = "full"
    multiplies = True
    label, place = "full differences", 90
    options = ("bias",)
    param_names = ("diff", "diff_b", "alpha")  # alpha is written by some trainers and read by none
    dimensions = (2, 4)

    @classmethod
    @override
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

    @override
    def forward_delta(self, x: Tensor, layer: nn.Module) -> Tensor:
        return apply_weight(x, self.weight, layer, self.bias)
