"""One layer's tensors as a file has them, in any trainer's form, to those that our algorithms know.

Only what a tensor means is looked at here; which layer a name belongs to is :mod:`spelling`'s work. Everything works on
tensors without memory too (torch's meta device), so that a file can be judged by its header.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from lib_lora.adapters.algorithms.oft_inputs import TRIANGLES, block_size
from lib_lora.adapters.base import at_least_float32
from lib_lora.adapters.build import adapter_from
from lib_lora.adapters.dora import SCALE
from lib_lora.adapters.layers import NUMBERS, Params
from lib_lora.adapters.peft_config import PeftConfig
from lib_lora.errors import UserError

UP, DOWN, ALPHA = "lora_up.weight", "lora_down.weight", "alpha"
MAGNITUDE, SCALAR, UP_BIAS, PEFT_IA3 = "magnitude", "scalar", "lora_up.bias", "ia3_l"
SCALED_OFT = "oft_R.scaled_oft"
NORMS = {"diff": "w_norm", "diff_b": "b_norm"}  # ComfyUI writes a vector's change as that of a matrix


def settled(params: Params, config: PeftConfig | None = None, path: str = "") -> dict[str, Tensor]:
    """A layer's tensors by the names that algorithms read.

    - PEFT's magnitude vector becomes a DoRA scale of the output axis; its IA3, which multiplies, ours, which adds;
    - a ``scalar`` of LyCORIS is part of the scale; a bias of the up projection is a change of the layer's bias;
    - a matrix beside a 1×1 convolution takes the other's form;
    - the change of a vector, which a normalisation layer has, is one of a norm by name too;
    - OneTrainer's *scaled* OFT, which divides by 2√(b − 1), becomes one without the mark;
    - an alpha that PEFT keeps elsewhere is put among the tensors.

    Args:
        config: of PEFT, for a file without alphas of its own.
        path: of the module, as PEFT's patterns know it.
    """
    found = {name: tensor for name, tensor in params.items()}
    if MAGNITUDE in found:
        magnitude = found.pop(MAGNITUDE)
        found[SCALE] = magnitude.reshape(-1, *[1] * (max(2, magnitude.ndim) - 1))
    if PEFT_IA3 in found:
        found = _from_peft_ia3(found)
    if "diff" in found and found["diff"].ndim == 1:
        found = {NORMS.get(name, name): tensor for name, tensor in found.items() if name != ALPHA}
    if found.pop(SCALED_OFT, None) is not None and TRIANGLES in found:
        found[TRIANGLES] = _without_scale(found[TRIANGLES])
    if config is not None and ALPHA not in found:
        found = _scaled_by(config, path, found)
    found = _same_dimensions(found)
    if SCALAR in found and all(found[name].numel() == 1 for name in (SCALAR, ALPHA) if name in found):
        scalar = found.pop(SCALAR).float().reshape(())
        found[ALPHA] = scalar * found.get(ALPHA, torch.tensor(float(_rank(found) or 1))).to(scalar).reshape(())
    if UP_BIAS in found and UP in found:
        scale = found[ALPHA].to(torch.float32).reshape(()) / max(1, _rank(found) or 1) if ALPHA in found else 1.0
        found["diff_b"] = _times(found.pop(UP_BIAS), float(scale))
    return found


def _without_scale(triangles: Tensor) -> Tensor:
    size = block_size(triangles.shape[-1]) if triangles.ndim else 0
    return _times(triangles, 0.5 / math.sqrt(size - 1)) if size else triangles


def _times(tensor: Tensor, scale: float) -> Tensor:
    """At least float32; without memory, only the type is looked at."""
    wide = at_least_float32(tensor)
    return wide if wide.is_meta else wide * scale


def why_left_out(params: Params) -> str | None:
    """Why a layer does nothing in any program, so that it may be passed over; None for one that has to be read."""
    names = params.keys() - {ALPHA, SCALAR}
    if not names:
        return "it has no weights"
    if all(name in ("", "position_ids") for name in names):
        return "it is no layer of a LoRA"
    if names & {UP, DOWN} and not {UP, DOWN} <= names:
        return f"{UP if UP not in names else DOWN} is missing"
    if any(0 in params[name].shape for name in names):
        return "its rank is 0"
    return None


def check_structure(params: Params) -> None:
    """Whether the tensors are those of an algorithm and fit together; works without their values.

    Raises:
        UserError: they do not.
    """
    for name, tensor in params.items():
        if name not in NUMBERS and not tensor.is_floating_point():
            raise UserError(f"{name} holds {tensor.dtype} values", fix="This is not a LoRA's weight.")
    adapter_from({n: torch.ones(t.shape) if n in NUMBERS and t.is_meta else t for n, t in params.items()})


def _rank(params: Params) -> int | None:
    for name, axis in ((DOWN, 0), ("hada_w1_b", 0), ("lokr_w2_b", 0), ("lokr_w1_b", 0)):
        if name in params and params[name].ndim > axis:
            return params[name].shape[axis]
    return None


def _scaled_by(config: PeftConfig, path: str, params: Mapping[str, Tensor]) -> dict[str, Tensor]:
    rank = _rank(params)
    if rank is not None:
        return {**params, ALPHA: torch.tensor(config.alpha_for(path, rank), dtype=torch.float32)}
    if "lokr_w1" in params:  # PEFT scales two full matrices as well, other programs do not
        return {**params, "lokr_w1": _times(params["lokr_w1"], config.scale_for(path))}
    return dict(params)


def _same_dimensions(params: dict[str, Tensor]) -> dict[str, Tensor]:
    up, down = params.get(UP), params.get(DOWN)
    if up is None or down is None:
        return params
    if up.ndim == 2 and down.ndim == 4:
        return {**params, UP: up[:, :, None, None]}
    if up.ndim == 4 and down.ndim == 2 and up.shape[2:].numel() == 1:
        return {**params, DOWN: down[:, :, None, None]}
    return params


def _from_peft_ia3(params: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """W' = W·l, with l [o, 1] for outputs and [1, i] for the inputs of feed-forward layers."""
    factor = params[PEFT_IA3]
    on_input = factor.ndim > 1 and factor.shape[0] == 1 and factor.shape[1] > 1
    rest = {name: tensor for name, tensor in params.items() if name != PEFT_IA3}
    return {**rest, "weight": at_least_float32(factor).flatten() - 1, "on_input": torch.tensor(float(on_input))}
