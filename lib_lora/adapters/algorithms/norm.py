"""Norm: the change of a normalisation layer's scale and shift."""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from lib_lora.adapters.base import LayerSpec
from lib_lora.adapters.difference import Difference


class Norm(Difference):
    """What is added to scale and shift of a GroupNorm or LayerNorm over n channels.

    Attributes:
        weight: [n].
        bias: None, or [n]; A1111 only loads files that have both.
    """

    algorithm = "norm"
    label, place = "normalisation layers", 95
    options = ()
    chosen = False
    param_names = ("w_norm", "b_norm")
    dimensions = (1,)

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
    ) -> Norm:
        return cls(*(torch.zeros(layer_shape, dtype=dtype, device=device) for _ in range(2)))

    @override
    def forward_delta(self, x: Tensor, layer: nn.Module) -> Tensor:
        if isinstance(layer, nn.GroupNorm):
            return F.group_norm(x, layer.num_groups, self.weight, self.bias, layer.eps)
        norm = cast(nn.LayerNorm, layer)  # or what a web UI has in its place
        return F.layer_norm(x, norm.normalized_shape, self.weight, self.bias, norm.eps)
