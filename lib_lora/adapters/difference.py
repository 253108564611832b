"""What full difference and norm share: the change of a weight itself, and that of its bias."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn
from typing_extensions import override

from lib_lora.adapters.base import Adapter, at_least_float32, missing, stored, unfit
from lib_lora.adapters.delta import Delta


class Difference(Adapter):
    """A weight that is changed freely. ``param_names`` begins with the names of the two in a file.

    Attributes:
        weight: what is added to the layer's weight, in its shape.
        bias: None, or what is added to its bias.
        dimensions: how many a weight may have.
    """

    dimensions: ClassVar[tuple[int, ...]]

    def __init__(self, weight: Tensor, bias: Tensor | None = None):
        super().__init__()
        self.weight = nn.Parameter(weight)
        self.bias = None if bias is None else nn.Parameter(bias)
        self.weight_shape = weight.shape

    @classmethod
    @override
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> Difference:
        names = cls.param_names[:2]
        missing(tensors, names[0])
        weight, bias = tensors[names[0]], tensors.get(names[1])
        if weight.ndim not in cls.dimensions or (bias is not None and bias.shape != weight.shape[:1]):
            raise unfit(cls.algorithm, {name: tensors[name] for name in names if name in tensors})
        return cls(weight, bias)

    @classmethod
    def from_delta(cls, delta: Delta) -> Difference:
        """The exact ΔW of any algorithm."""
        return cls(delta.dense(), delta.bias)

    @override
    def tensors(self, dtype: torch.dtype | None = None) -> dict[str, Tensor]:
        parts = zip(self.param_names, (self.weight, self.bias), strict=False)  # further names are only read
        return {name: stored(part, dtype) for name, part in parts if part is not None}

    @override
    def delta(self, base: Tensor | None = None) -> Delta:
        bias = None if self.bias is None else at_least_float32(self.bias)
        matrix = at_least_float32(self.weight).reshape(self.weight_shape[0], -1)
        return Delta(self.weight_shape, dense_part=matrix, bias=bias)

    @override
    def reshape(self, weight_shape: torch.Size) -> None:
        self.weight.data = self.weight.data.reshape(weight_shape)
