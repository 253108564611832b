"""The base weight of a live layer, whichever way a web UI stores it.

Adapters never change a base weight, so it may be packed or wait in main memory; it only has to be readable when it is
needed. What is known of a packed weight is asked for by capability, never by class: bitsandbytes' 4-bit parameters have
a ``quant_state``, its 8-bit ones ``CB`` and ``SCB``; Forge's GGUF parameters have ``gguf_cls``; comfy_kitchen's
``QuantizedTensor`` has ``_qdata`` and dequantizes itself; Forge's scaled fp8 layers have a ``scale_weight`` beside it.
Any other linear layer is asked what it does to the unit vectors.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

Layer = Any  # a module of whichever web UI: what it offers is asked for
PLAIN = frozenset((torch.float64, torch.float32, torch.float16, torch.bfloat16))
FP8 = frozenset(
    getattr(torch, name)
    for name in ("float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz")
    if hasattr(torch, name)
)


def weight_shape(layer: Layer) -> torch.Size:
    """The shape that the weight of ``layer`` has when it is not packed: [n], [o, i] or [o, i, kh, kw]."""
    weight = layer.weight
    state = getattr(weight, "quant_state", None)
    return torch.Size(weight.shape if state is None else state.shape)


def storage_of(layer: Layer) -> str:
    """How the weight is stored, in the words of the web UIs: ``"plain"``, ``"fp8"``, ``"nf4"``, ``"GGUF"`` …"""
    weight = layer.weight
    if getattr(weight, "gguf_cls", None) is not None:
        return "GGUF"
    if getattr(weight, "quant_state", None) is not None:
        return str(weight.quant_state.quant_type)
    if hasattr(weight, "_qdata"):
        return f"quantized {str(weight._qdata.dtype).removeprefix('torch.')}"
    if weight.dtype in PLAIN:
        return "plain"
    return "fp8" if weight.dtype in FP8 else str(weight.dtype).removeprefix("torch.")


def how_stored(layers: Iterable[Layer]) -> str:
    """How the weights of ``layers`` are held, in a sentence; empty where they are plain and where they compute."""
    packed: Counter[str] = Counter()
    away = total = 0
    for layer in layers:
        size = weight_shape(layer).numel()
        total += size
        packed[storage_of(layer)] += size
        away += size * (layer.weight.device.type != computing_device(layer).type)
    kinds = [kind for kind, _ in packed.most_common() if kind != "plain"]
    parts = [f"packed as {' and '.join(kinds)}"] if kinds else []
    if away:
        parts.append(f"{100 * away / total:.0f} % in main memory, from where each step brings it twice")
    return f"The base model is {', '.join(parts)}" if parts else ""


def computing_device(layer: Layer) -> torch.device:
    """Where ``layer`` computes; its weight may be elsewhere while it is borrowed (:mod:`.borrowed`)."""
    device: torch.device = getattr(vars(layer).get("forward"), "device", None) or layer.weight.device
    return device


def fetch_weight(layer: Layer, dtype: torch.dtype | None, device: torch.device) -> Tensor:
    """The weight of ``layer`` in :func:`weight_shape`, detached, as ``dtype`` (None: its own) on ``device``.

    A plain weight that is there already is returned itself, not a copy.
    """
    weight = layer.weight
    how = storage_of(layer)
    found: Tensor
    if how == "GGUF":
        found = weight.gguf_cls.dequantize_pytorch(weight.to(device=device))
    elif getattr(weight, "quant_state", None) is not None:
        found = _dequantized_4bit(weight, device)
    elif hasattr(weight, "_qdata"):
        found = weight.detach().to(device=device).dequantize()
    elif weight.dtype == torch.int8 and (parts := _scales(layer)) is not None:
        codes, scales = (part.to(device).float() for part in parts)
        found = codes * (scales / 127).unsqueeze(1)
    elif how in ("plain", "fp8"):
        found = weight.detach()
    else:
        found = _asked(layer, dtype or torch.float32, device)
    if dtype is None:
        dtype = found.dtype if found.dtype in PLAIN else torch.float32
    found = found.to(device=device, dtype=dtype, non_blocking=True)
    scale: Tensor | None = getattr(layer, "scale_weight", None)
    return found if scale is None else found * scale.to(found)


def _dequantized_4bit(weight: Any, device: torch.device) -> Tensor:
    from bitsandbytes.functional import dequantize_4bit

    state = weight.quant_state
    if state.absmax.device != device:  # its own ``to`` would move the web UI's
        state = copy.copy(state)
        state.state2 = copy.copy(state.state2)
        state.to(device)
    found: Tensor = dequantize_4bit(weight.data.to(device), state)
    return found


def _scales(layer: Layer) -> tuple[Tensor, Tensor] | None:
    """bitsandbytes' codes and row scales, which move from the weight into ``layer.state`` with the first use."""
    for holder in (layer.weight, getattr(layer, "state", None)):
        codes, scales = getattr(holder, "CB", None), getattr(holder, "SCB", None)
        if codes is not None and scales is not None:
            return codes, scales
    return None


def _asked(layer: Layer, dtype: torch.dtype, device: torch.device) -> Tensor:
    """The matrix of a linear layer of unknown storage, by what it makes of the unit vectors."""
    with torch.no_grad():
        units = torch.eye(layer.in_features, dtype=dtype, device=device)
        forward = type(layer).forward  # its own, whatever stands before it now
        found: Tensor = forward(layer, units) - forward(layer, torch.zeros_like(units[:1]))
        return found.t()
