"""IA3 (Liu et al. 2022, arXiv:2205.05638; LyCORIS): ΔW = W scaled per output or input channel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn
from typing_extensions import override

from lib_lora.adapters.base import (
    Adapter,
    LayerSpec,
    apply_weight,
    base_of,
    channel_axis,
    misfit,
    missing,
    required_base,
    stored,
    unfit,
)
from lib_lora.adapters.delta import Delta

WEIGHT, ON_INPUT = "weight", "on_input"


class IA3(Adapter):
    """One number per channel; 0 changes nothing.

    Attributes:
        weight: [n], for the outputs, or with ``on_input`` for the inputs.
        weight_shape: until the layer is known, [n, 1] or [1, n].
    """

    algorithm = "ia3"
    label, place = "IA3", 60
    options = ()
    elsewhere: ClassVar[Mapping[str, str]] = {
        "AUTOMATIC1111": "fails on the convolutions of IA3, to which proj_in and proj_out belong",
        "Forge": "",
        "ComfyUI": "",
    }
    param_names = (WEIGHT, ON_INPUT, "alpha")
    needs_base = True

    def __init__(self, weight: Tensor, on_input: bool):
        super().__init__()
        self.weight = nn.Parameter(weight)
        self.on_input = on_input
        self.weight_shape = torch.Size((1, len(weight)) if on_input else (len(weight), 1))

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
    ) -> IA3:
        adapter = cls(torch.zeros(layer_shape[0], dtype=dtype, device=device), on_input=False)
        adapter.fit(layer_shape)
        return adapter

    @classmethod
    @override
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> IA3:
        missing(tensors, WEIGHT, ON_INPUT)
        if tensors[WEIGHT].numel() == 0 or tensors[ON_INPUT].numel() != 1:
            raise unfit("IA3", {name: tensors[name] for name in (WEIGHT, ON_INPUT)})
        return cls(tensors[WEIGHT].flatten(), bool(tensors[ON_INPUT].item()))

    @override
    def tensors(self, dtype: torch.dtype | None = None) -> dict[str, Tensor]:
        weight = stored(self.weight, dtype)
        if len(self.weight_shape) == 4:
            weight = weight.reshape(1, -1, 1, 1)
        return {WEIGHT: weight, ON_INPUT: torch.tensor(float(self.on_input))}

    @override
    def forward_delta(self, x: Tensor, layer: nn.Module) -> Tensor:
        axis, base = channel_axis(layer), base_of(layer, x)
        if self.on_input:
            return apply_weight(x * _along(self.weight, axis, x.ndim), base, layer)
        out = apply_weight(x, base, layer)
        return out * _along(self.weight, axis, out.ndim)

    @override
    def delta(self, base: Tensor | None = None) -> Delta:
        base = required_base(base, "IA3")
        scale = _along(self.weight.detach().to(base), 1 if self.on_input else 0, base.ndim)
        return Delta(base.shape, dense_part=(base * scale).flatten(1))

    @override
    def fit(self, weight_shape: torch.Size) -> None:
        if weight_shape[1 if self.on_input else 0] != len(self.weight):
            raise misfit(self.weight_shape, weight_shape)
        self.weight_shape = torch.Size(weight_shape)


def _along(vector: Tensor, axis: int, ndim: int) -> Tensor:
    """``vector`` [n] shaped to broadcast along one axis of a tensor of ``ndim`` axes."""
    shape = [1] * ndim
    shape[axis] = -1
    return vector.reshape(shape)
