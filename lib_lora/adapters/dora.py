"""DoRA (Liu et al. 2024, arXiv:2402.09353) around LoRA, LoCon, LoHa or LoKr: W' = (W + ΔW) · scale / ‖W + ΔW‖.

The norm is over everything but one axis. What we train and what every loader renders alike is the input axis, with
alpha = rank: the adapter's own scale is folded into a factor on saving. Files of the output axis (LyCORIS' default,
PEFT) are read as they are meant, which several loaders do not manage. The multiplier scales W' − W, as the web UIs do.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from typing_extensions import override

from lib_lora.adapters.base import (
    Adapter,
    ContradictionError,
    LayerSpec,
    apply_weight,
    at_least_float32,
    base_of,
    channel_axis,
    required_base,
    stored,
)
from lib_lora.adapters.delta import Delta
from lib_lora.errors import UserError

SCALE = "dora_scale"
INPUT_AXIS, OUTPUT_AXIS = 1, 0


class DoRA(Adapter):
    """An adapter that gives the new weight's direction, and numbers that give its length per channel.

    Attributes:
        inner: the adapter of the direction.
        dora_scale: [i] or [o], by ``axis``.
        axis: the axis that keeps its channels apart, 1 (inputs) or 0 (outputs).
    """

    algorithm = "dora"
    param_names = (SCALE,)
    needs_base = True

    def __init__(self, inner: Adapter, dora_scale: Tensor, axis: int = INPUT_AXIS):
        super().__init__()
        self.inner = inner
        self.dora_scale = nn.Parameter(dora_scale)
        self.axis = axis
        self.weight_shape = inner.weight_shape

    @classmethod
    def around(cls, inner: Adapter, base: Tensor) -> DoRA:
        """A fresh DoRA whose ΔW is zero while that of ``inner`` is; input axis.

        Args:
            base: the weight to adapt.
        """
        return cls(inner, _norm(base, INPUT_AXIS).to(inner.dtype))

    @classmethod
    @override
    def create(cls, layer_shape: torch.Size, spec: LayerSpec, **options: object) -> DoRA:
        raise TypeError("a DoRA is made around an adapter and a weight: DoRA.around")

    @classmethod
    @override
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> DoRA:
        raise TypeError("a DoRA is read around an adapter: DoRA.read")

    @classmethod
    def read(cls, inner: Adapter, dora_scale: Tensor) -> DoRA:
        """The DoRA of a file; the shape of ``dora_scale`` ([1, i, …] or [o, 1, …]) tells the axis.

        Raises:
            UserError: the algorithm cannot be wrapped, or the scale does not fit.
        """
        if not inner.wrappable:
            raise UserError(f"DoRA around {inner.algorithm} is not known")
        shape = dora_scale.shape
        inputs = len(shape) > 1 and shape[0] == 1 and shape[1] == dora_scale.numel()
        adapter = cls(inner, dora_scale.flatten(), INPUT_AXIS if inputs else OUTPUT_AXIS)
        outputs = inner.weight_shape[0]
        if len(adapter.dora_scale) != outputs if not inputs else inner.weight_shape[1] % max(1, shape[1]):
            raise ContradictionError(
                f"dora_scale {list(shape)} does not fit a layer of shape {list(inner.weight_shape)}"
            )
        return adapter

    @override
    def tensors(self, dtype: torch.dtype | None = None) -> dict[str, Tensor]:
        inner = self.inner
        tensors = inner.tensors()
        name = inner.scaled_param
        scaled = at_least_float32(tensors[name]) * inner.scale
        tensors[name] = scaled.to(tensors[name].dtype)
        tensors = {key: stored(t, dtype) for key, t in tensors.items()}
        kernel = [1] * (len(self.weight_shape) - 2)
        shape = (1, -1, *kernel) if self.axis == INPUT_AXIS else (-1, 1, *kernel)
        alpha = torch.tensor(float(inner.rank), dtype=torch.float32)
        return {**tensors, SCALE: stored(self.dora_scale, dtype).reshape(shape), "alpha": alpha}

    @override
    def forward_delta(self, x: Tensor, layer: nn.Module) -> Tensor:
        base = base_of(layer, x)
        ratio = self._ratio(base).to(x.dtype)
        channels = ratio.view(*[-1 if i == channel_axis(layer) % x.ndim else 1 for i in range(x.ndim)])
        if self.axis == INPUT_AXIS:
            return apply_weight(x * (channels - 1), base, layer) + self.inner.forward_delta(x * channels, layer)
        return apply_weight(x, base, layer) * (channels - 1) + self.inner.forward_delta(x, layer) * channels

    @override
    def delta(self, base: Tensor | None = None) -> Delta:
        base = required_base(base, "DoRA")
        ratio = self._ratio(base).detach().to(base)
        direction = base + self._inner_weight(base)
        shape = [-1 if i == self.axis else 1 for i in range(base.ndim)]
        return Delta(base.shape, dense_part=(direction * ratio.view(shape) - base).flatten(1))

    @override
    def fit(self, weight_shape: torch.Size) -> None:
        self.inner.fit(weight_shape)
        self.weight_shape = self.inner.weight_shape
        if weight_shape[self.axis] != len(self.dora_scale):
            what = f"dora_scale has {len(self.dora_scale)} numbers, the layer is {list(weight_shape)}"
            raise UserError(what, fix="Load a checkpoint of the family the LoRA was trained on.")

    def _ratio(self, base: Tensor) -> Tensor:
        """scale / ‖W + ΔW‖ per channel; no gradient flows through the norm (section 4.3 of the paper)."""
        with torch.no_grad():
            norm = _norm(base + self._inner_weight(base), self.axis)
        return self.dora_scale.to(norm.dtype) / norm

    def _inner_weight(self, base: Tensor) -> Tensor:
        return self.inner.delta().dense().reshape(base.shape).to(base)


def _norm(weight: Tensor, axis: int) -> Tensor:
    """Norm of each slice along ``axis``, at least float32, never 0."""
    rows = at_least_float32(weight).movedim(axis, 0).flatten(1)
    lengths: Tensor = rows.norm(dim=1)
    return lengths.clamp_min(torch.finfo(rows.dtype).eps)
