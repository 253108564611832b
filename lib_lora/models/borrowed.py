"""A frozen weight is a function: fetched for the forward pass, fetched again for the backward pass, kept by neither.

The gradient of a linear layer or a convolution with respect to its input needs the weight and nothing else. Left to
autograd, the weight as it was computed with is kept from the one pass to the other: a widened copy of every packed
weight, a second copy of every weight that was brought from main memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from lib_lora.models.weights import PLAIN, Layer, fetch_weight, weight_shape

Fetch = Callable[[torch.dtype, torch.device], Tensor]
Forward = Callable[[Tensor], Tensor]
MULTIPLIERS = ("Linear", "NonDynamicallyQuantizableLinear", "Conv1d", "Conv2d", "Conv3d")
NORMS = ("LayerNorm", "GroupNorm", "GroupNorm32", "RMSNorm")


@dataclass(frozen=True)
class Convolution:
    """What a convolution does beside multiplying; sizes are a number for each axis of the picture."""

    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int = 1

    @classmethod
    def of(cls, layer: Layer) -> Convolution | None:
        """Of a live layer; None if its weight is a matrix."""
        if len(weight_shape(layer)) == 2:
            return None
        return cls(layer.stride, layer.padding, layer.dilation, layer.groups)

    def __call__(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """``x`` convolved with ``weight``, which need not be the layer's own."""
        convolve = (F.conv1d, F.conv2d, F.conv3d)[weight.ndim - 3]
        return convolve(x, weight, bias, self.stride, self.padding, self.dilation, self.groups)

    def input_gradient(self, shape: torch.Size, weight: Tensor, grad: Tensor) -> Tensor:
        """For an input of ``shape``."""
        x = grad.new_empty(1).expand(shape)  # only its shape is looked at
        how = (self.stride, self.padding, self.dilation, False, [0] * len(self.stride), self.groups)
        found: Tensor = torch.ops.aten.convolution_backward(grad, x, weight, None, *how, (True, False, False))[0]
        return found


def borrowed(x: Tensor, fetch: Fetch, forward: Forward | None = None, *, bias: Tensor | None = None,
             convolution: Convolution | None = None) -> Tensor:  # fmt: skip
    """A frozen linear layer or convolution of ``x`` that autograd keeps nothing of.

    Args:
        x: [B, …, i], or [B, i, h, w] for a convolution.
        fetch: gives the weight, [o, i] or [o, i, kh, kw], in a type, on a device; called in both passes.
        forward: what the layer computes, where it has a way of its own; else ``fetch``'s weight and ``bias`` are used.
        bias: [o], without gradient.
        convolution: how a convolution is made; None for a linear layer.
    """
    if forward is None:
        forward = partial(_multiplied, fetch, bias, convolution)
    found: Tensor = _Borrowed.apply(x, fetch, forward, convolution)  # type: ignore[no-untyped-call]
    return found


def _multiplied(fetch: Fetch, bias: Tensor | None, convolution: Convolution | None, x: Tensor) -> Tensor:
    weight = fetch(x.dtype, x.device)
    bias = None if bias is None else bias.to(x.device, x.dtype)
    return F.linear(x, weight, bias) if convolution is None else convolution(x, weight, bias)


class _Borrowed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, fetch: Fetch, forward: Forward, convolution: Convolution | None) -> Tensor:
        ctx.fetch, ctx.convolution = fetch, convolution
        ctx.shape, ctx.dtype = x.shape, x.dtype
        return forward(x.detach())

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        weight = ctx.fetch(grad.dtype, grad.device)
        if ctx.convolution is not None:
            found = ctx.convolution.input_gradient(ctx.shape, weight, grad)
        else:  # as one product of matrices, which is what autograd makes of a linear layer
            found = (grad.reshape(-1, grad.shape[-1]) @ weight).view(ctx.shape)
        return found.to(ctx.dtype), None, None, None


@contextmanager
def borrowing(modules: Iterable[nn.Module], device: torch.device | None = None, always: bool = False) -> Iterator[None]:
    """Let gradients pass the layers of ``modules`` wherever and however their frozen weights are stored, keeping none.

    Layers are told by the names of their classes or of these' bases: Forge's ``Linear`` is not PyTorch's. Each keeps
    its own ``forward``, so what it computes stays the web UI's, to the bit. A weight that autograd can keep for nothing
    (plain, on the device of the input, not made in inference mode) is left to it; so is everything where no gradient
    is asked for.

    Args:
        modules: models, or single layers.
        device: where the layers compute, if not all their weights are there.
        always: borrow those too; for hosts that move weights between the forward and the backward pass.
    """
    with ExitStack() as undo:
        for layer in (layer for module in modules for layer in module.modules()):
            wrap = next((WRAPPERS[c.__name__] for c in type(layer).__mro__ if c.__name__ in WRAPPERS), None)
            if wrap is None or getattr(layer, "weight", None) is None:  # a norm may have none
                continue
            before = vars(layer).get("forward")
            layer.forward = wrap(layer, device, always)
            undo.callback(_put_back, layer, before)
        yield


def _put_back(layer: Layer, forward: Any) -> None:
    del layer.forward
    if forward is not None:
        layer.forward = forward


class BorrowedForward:
    """The ``forward`` of a layer while it is borrowed."""

    __slots__ = ("always", "device", "fetch", "layer", "own")

    def __init__(self, layer: Layer, device: torch.device | None, always: bool):
        self.layer, self.device, self.always = layer, device, always
        # looked up at each use, where it is the class's: A1111 exchanges that for the length of its manual cast
        self.own: Forward = vars(layer).get("forward") or partial(_of_its_class, layer)
        self.fetch: Fetch = partial(fetch_weight, layer)

    def __call__(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """What the layer's own ``forward`` gives; where gradients pass, autograd keeps no copy of the weight."""
        if not self.is_needed(x) or getattr(self.layer, "padding_mode", "zeros") != "zeros":
            return self.own(x, *args, **kwargs)
        return borrowed(x, self.fetch, self.own, convolution=Convolution.of(self.layer))

    def is_needed(self, x: Tensor) -> bool:
        """Whether gradients pass that autograd should not keep the weight for."""
        return x.requires_grad and torch.is_grad_enabled() and (self.always or kept_apart(self.layer.weight, x))


def _of_its_class(layer: Layer, *args: Any, **kwargs: Any) -> Tensor:
    found: Tensor = type(layer).forward(layer, *args, **kwargs)
    return found


class FetchedForward(BorrowedForward):
    """Of a layer that cannot compute with its weight as it is stored: it is fetched without gradients too."""

    __slots__ = ()

    def __init__(self, layer: Layer, device: torch.device):
        super().__init__(layer, device, always=True)
        self.own = self._computed

    def _computed(self, x: Tensor) -> Tensor:
        return _multiplied(self.fetch, self.layer.bias, Convolution.of(self.layer), x)


class BorrowedNorm(BorrowedForward):
    """A norm's weights are small: autograd may keep copies."""

    __slots__ = ()

    @override
    def __call__(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if not self.is_needed(x):
            return self.own(x, *args, **kwargs)
        layer = self.layer
        before = {name: p for name in ("weight", "bias") if (p := layer._parameters.get(name)) is not None}
        try:
            for name, parameter in before.items():
                layer._parameters[name] = nn.Parameter(parameter.detach().to(x.device, copy=True), requires_grad=False)
            return self.own(x, *args, **kwargs)
        finally:
            layer._parameters.update(before)


class BorrowedLookup(BorrowedForward):
    """An embedding: nothing is learned in front of it, and of weights made in inference mode autograd takes none."""

    __slots__ = ()

    @override
    def __call__(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        with torch.no_grad():
            return self.own(x, *args, **kwargs)


WRAPPERS: dict[str, type[BorrowedForward]] = {
    **dict.fromkeys(MULTIPLIERS, BorrowedForward),
    **dict.fromkeys(NORMS, BorrowedNorm),
    "Embedding": BorrowedLookup,
}


def kept_apart(weight: Tensor, x: Tensor) -> bool:
    """Whether autograd would keep a copy of ``weight`` for what is made of ``x``, or cannot keep it at all."""
    packed = weight.dtype not in PLAIN or hasattr(weight, "_qdata")
    return packed or weight.device != x.device or weight.dtype != computing_type(x) or untracked(weight)


def computing_type(x: Tensor) -> torch.dtype:
    """The type that a matrix product with ``x`` is made in: autocast's where it is on."""
    if not autocasts(x):
        return x.dtype
    return torch.get_autocast_cpu_dtype() if x.device.type == "cpu" else torch.get_autocast_gpu_dtype()


def autocasts(x: Tensor) -> bool:
    """Whether matrix products with ``x`` cast what they are given, by themselves."""
    return torch.is_autocast_cpu_enabled() if x.device.type == "cpu" else torch.is_autocast_enabled()


def untracked(tensor: Tensor) -> bool:
    """Whether a backward pass that keeps ``tensor`` would fail.

    ``is_inference`` alone does not tell: moved out of inference mode a parameter says no, and still has no version.
    """
    try:
        return tensor.is_inference() or tensor._version is None
    except RuntimeError:  # "Inference tensors do not track version counter"
        return True
