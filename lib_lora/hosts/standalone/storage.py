"""A frozen base in less memory of the card: packed in 8 or 4 bits, or waiting in main memory until a layer needs it.

8 bits are e4m3 of Micikevicius et al., "FP8 Formats for Deep Learning", 2022 (arXiv:2209.05433), without a scale, as in
kohya's ``fp8_base``; 4 bits are NF4 of Dettmers et al., "QLoRA", 2023 (arXiv:2305.14314), by bitsandbytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from lib_lora.errors import UserError
from lib_lora.models.borrowed import FetchedForward
from lib_lora.models.weights import weight_shape

FP8 = torch.float8_e4m3fn
PACKINGS = ("fp8", "nf4")


@contextmanager
def stored(layers: Iterable[nn.Module], device: torch.device, packing: str = "", away: float = 0.0) -> Iterator[None]:
    """Linear layers and convolutions among ``layers`` stored otherwise for the length of a ``with`` block.

    Norms and biases of packed layers stay, and so do weights beyond fp8's largest number, 448. At the end every
    parameter has its own values back, bit by bit; until then those of packed ones wait in main memory.

    Args:
        device: where the layers compute.
        packing: ``"fp8"``, ``"nf4"`` or, as they are, ``""``.
        away: share of the weights, 0 to 1, that waits in main memory, the largest layers first.

    Raises:
        UserError: bitsandbytes is needed and cannot be imported.
    """
    heavy = [layer for layer in layers if isinstance(layer, nn.Linear | nn.Conv2d)]
    pack = _packer(packing)
    with ExitStack() as undo:
        changed = [layer for layer in heavy if pack is not None and pack(layer, undo)]
        sent = _largest(heavy, away)
        for layer in sent:
            undo.callback(_move, layer, device)
            _move(layer, torch.device("cpu"))
        for layer in {*changed, *sent}:
            layer.forward = FetchedForward(layer, device)
            undo.callback(vars(layer).pop, "forward")
        yield


def _packer(packing: str) -> Callable[[nn.Module, ExitStack], bool] | None:
    return {"": None, "fp8": _in_8_bits, "nf4": _in_4_bits}[packing]


def _in_8_bits(layer: Any, undo: ExitStack) -> bool:
    weight = layer.weight
    if weight.dtype == FP8 or weight.abs().amax().item() > torch.finfo(FP8).max:
        return False
    undo.callback(_refill, weight, weight.data.cpu())
    weight.data = weight.data.to(FP8)
    return True


def _refill(weight: nn.Parameter, values: Tensor) -> None:
    weight.data = values.to(weight.device)


def _in_4_bits(layer: Any, undo: ExitStack) -> bool:
    try:
        from bitsandbytes.functional import quantize_4bit
        from bitsandbytes.nn import Params4bit
    except ImportError as e:
        what = "A base in NF4 needs the package bitsandbytes"
        fix = "Install it with pip install bitsandbytes, or use fp8 base instead"
        raise UserError(what, where="nf4_base", fix=fix) from e
    weight = layer.weight
    data, state = quantize_4bit(weight.data, quant_type="nf4")
    undo.callback(_unpack, layer, weight, weight.data.cpu(), weight.device)
    layer._parameters["weight"] = Params4bit(data, requires_grad=False, quant_state=state, bnb_quantized=True)
    weight.data = weight.data.new_empty(0)
    return True


def _unpack(layer: Any, weight: nn.Parameter, values: Tensor, device: torch.device) -> None:
    layer._parameters["weight"] = weight
    weight.data = values.to(device)


def _largest(layers: Iterable[nn.Module], share: float) -> list[nn.Module]:
    """The largest of ``layers`` that hold ``share`` of all numbers, at least."""
    sizes = {layer: weight_shape(layer).numel() for layer in layers}
    wanted, found = share * sum(sizes.values()), []
    for layer in sorted(sizes, key=lambda layer: -sizes[layer]):
        if wanted <= 0:
            break
        found.append(layer)
        wanted -= sizes[layer]
    return found


def _move(layer: nn.Module, device: torch.device) -> None:
    layer.to(device)
    if device.type == "cpu" and torch.cuda.is_available():
        for parameter in layer.parameters():  # so that a copy to the card need not wait
            parameter.data = parameter.data.pin_memory()
