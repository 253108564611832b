"""Frozen weights kept in 8 bits and widened one layer at a time, forward and backward.

The format is e4m3 of Micikevicius et al., "FP8 Formats for Deep Learning", 2022 (arXiv:2209.05433), without a scale, as
in kohya's ``fp8_base``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

FP8 = torch.float8_e4m3fn


@contextmanager
def stored_in_fp8(layers: Iterable[nn.Module]) -> Iterator[None]:
    """Linear and convolution weights among ``layers`` as float8_e4m3fn; what they were waits in main memory.

    Biases and norms stay, and so do weights beyond fp8's largest number, 448. At the end every parameter has its own
    values back, bit by bit.
    """
    with ExitStack() as undo:
        for layer in layers:
            if isinstance(layer, nn.Linear | nn.Conv2d) and _fits(layer.weight):
                undo.callback(_restore, layer, layer.weight.data.cpu())
                layer.weight.data = layer.weight.data.to(FP8)
                layer.forward = partial(_forward, layer)
        yield


def _fits(weight: Tensor) -> bool:
    return weight.dtype != FP8 and weight.abs().amax().item() <= torch.finfo(FP8).max


def _restore(layer: nn.Module, weight: Tensor) -> None:
    vars(layer).pop("forward", None)
    layer.weight.data = weight.to(layer.weight.device)


def _forward(layer: nn.Module, x: Tensor) -> Tensor:
    convolution = (layer.stride, layer.padding, layer.dilation) if layer.weight.ndim == 4 else None
    return _Widened.apply(x, layer.weight, layer.bias, convolution)


class _Widened(torch.autograd.Function):
    """A linear layer or a convolution that keeps its weight for the backward pass in 8 bits.

    Left to autograd, the widened copy of every layer would be kept, and more memory used than without fp8.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, convolution: tuple | None) -> Tensor:
        ctx.save_for_backward(weight)
        ctx.input_shape, ctx.input_dtype, ctx.convolution = x.shape, x.dtype, convolution
        wide = weight.to(x.dtype)
        return F.linear(x, wide, bias) if convolution is None else F.conv2d(x, wide, bias, *convolution)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        (weight,) = ctx.saved_tensors
        wide = weight.to(grad.dtype)
        if ctx.convolution is None:
            found = grad @ wide
        else:
            found = nn.grad.conv2d_input(ctx.input_shape, wide, grad, *ctx.convolution)
        return found.to(ctx.input_dtype), None, None, None
