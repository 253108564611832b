"""What an optimizer remembers, as named tensors and numbers, whatever package it comes from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from lib_lora.adapters.network import Network
from lib_lora.errors import UserError

SET_ANEW = ("params", "lr", "base_lr", "part")  # of a group: follow from settings and step
NESTED = "#"  # in the name of a tensor within a list, a tuple or a table


def named_parameters(network: Network) -> list[tuple[str, torch.nn.Parameter]]:
    """Every trained parameter as "layer key.name"."""
    return [
        (f"{key}.{name}", parameter)
        for key, adapter in network.adapters.items()
        for name, parameter in adapter.named_parameters()
    ]


def optimizer_state(network: Network, optimizer: torch.optim.Optimizer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """(tensors, numbers): what :func:`restore_optimizer` needs; the numbers can be written as JSON.

    Tensors are called "layer key.parameter/kind", those of parameter groups "group 0/kind".

    Raises:
        UserError: the optimizer remembers something that cannot be written.
    """
    owners = {name: optimizer.state.get(parameter, {}) for name, parameter in named_parameters(network)}
    for i, group in enumerate(optimizer.param_groups):
        owners[f"group {i}"] = {kind: v for kind, v in group.items() if kind not in SET_ANEW and _is_data(v)}
    tensors: dict[str, Tensor] = {}
    numbers: dict[str, Any] = {}
    for owner, values in owners.items():
        for kind, value in values.items():
            name = f"{owner}/{kind}"
            if isinstance(value, Tensor):
                tensors[name] = value
            elif _is_data(value):
                numbers[name] = value if _is_plain(value) else _packed(value, name, tensors)
            else:
                what = f"{type(optimizer).__name__} keeps {kind!r}, a {type(value).__name__}, which cannot be saved"
                raise UserError(what, where="optimizer", fix="Choose another optimizer")
    return tensors, numbers


def restore_optimizer(
    network: Network, optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor], numbers: dict[str, Any]
) -> None:
    """Put back what :func:`optimizer_state` gave; moments go beside their parameters."""
    by_owner: dict[str, dict[str, Any]] = {}
    for name, value in {**tensors, **numbers}.items():
        if NESTED not in name:
            owner, kind = name.rsplit("/", 1)
            by_owner.setdefault(owner, {})[kind] = _unpacked(value, tensors)
    for i, group in enumerate(optimizer.param_groups):
        device = group["params"][0].device
        saved = by_owner.get(f"group {i}", {})
        if saved.get("fused") and not group.get("fused"):  # torch cannot do it here
            saved = {kind: value for kind, value in saved.items() if kind not in ("fused", "foreach")}
        group.update({kind: _placed(kind, v, device) for kind, v in saved.items()})
    counting = {id(p) for group in optimizer.param_groups if group.get("fused") for p in group["params"]}
    for name, parameter in named_parameters(network):
        if name in by_owner:
            home = parameter.device
            state = {kind: _placed(kind, value, home) for kind, value in by_owner[name].items()}
            if id(parameter) in counting and "step" in state:
                state["step"] = state["step"].to(home)
            optimizer.state[parameter] = state


def _placed(kind: str, value: Any, device: torch.device) -> Any:
    """Tensors on ``device``, but for torch's step counters, which live on the CPU unless a fused kernel counts."""
    if isinstance(value, (list, tuple)):
        return type(value)(_placed(kind, part, device) for part in value)
    if isinstance(value, dict):
        return {key: _placed(kind, part, device) for key, part in value.items()}
    return value.to(device) if isinstance(value, Tensor) and kind != "step" else value


def _is_data(value: Any) -> bool:
    """Whether it consists of tensors, numbers and texts; in a group all else follows from the settings."""
    if isinstance(value, dict):
        return all(isinstance(key, (str, int)) and _is_data(part) for key, part in value.items())
    if isinstance(value, (list, tuple)):
        return all(map(_is_data, value))
    return value is None or isinstance(value, (Tensor, bool, int, float, str))


def _is_plain(value: Any) -> bool:
    """Whether JSON gives it back: all but tables, lists and what has others within; a tuple is written as a list."""
    parts = value if isinstance(value, tuple) else [value]
    return not any(isinstance(part, (Tensor, dict, list, tuple)) for part in parts)


def _packed(value: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    """Nested data as JSON can hold it, each tensor in it under a name of its own in ``tensors``."""
    if isinstance(value, Tensor):
        tensors[at := f"{name}{NESTED}{len(tensors)}"] = value
        return {"tensor": at}
    if isinstance(value, dict):
        return {"dict": [[key, _packed(part, name, tensors)] for key, part in value.items()]}
    if isinstance(value, (list, tuple)):
        return {type(value).__name__: [_packed(part, name, tensors) for part in value]}
    return value


def _unpacked(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    """What :func:`_packed` was given; a plain list was a tuple."""
    if isinstance(value, list):
        return tuple(value)
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "dict":
        return {key: _unpacked(part, tensors) for key, part in content}
    parts = (_unpacked(part, tensors) for part in content)
    return list(parts) if kind == "list" else tuple(parts)
