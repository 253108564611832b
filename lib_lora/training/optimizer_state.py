"""What an optimizer remembers, as named tensors and numbers, whatever package it comes from."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lib_lora.adapters.network import Network

SET_ANEW = ("params", "lr", "base_lr", "part")  # of a group: follow from settings and step


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
    """
    owners = {name: optimizer.state.get(parameter, {}) for name, parameter in named_parameters(network)}
    for i, group in enumerate(optimizer.param_groups):
        owners[f"group {i}"] = {kind: value for kind, value in group.items() if kind not in SET_ANEW}
    tensors: dict[str, Tensor] = {}
    numbers: dict[str, Any] = {}
    for owner, values in owners.items():
        for kind, value in values.items():
            (tensors if isinstance(value, Tensor) else numbers)[f"{owner}/{kind}"] = value
    return tensors, numbers


def restore_optimizer(
    network: Network, optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor], numbers: dict[str, Any]
) -> None:
    """Put back what :func:`optimizer_state` gave; moments go beside their parameters."""
    by_owner: dict[str, dict[str, Any]] = {}
    for name, value in {**tensors, **numbers}.items():
        owner, kind = name.rsplit("/", 1)
        by_owner.setdefault(owner, {})[kind] = tuple(value) if isinstance(value, list) else value
    for name, parameter in named_parameters(network):
        if name in by_owner:
            state = by_owner[name]
            optimizer.state[parameter] = {kind: _placed(kind, v, parameter.device) for kind, v in state.items()}
    for i, group in enumerate(optimizer.param_groups):
        device = group["params"][0].device
        group.update({kind: _placed(kind, v, device) for kind, v in by_owner.get(f"group {i}", {}).items()})


def _placed(kind: str, value: Any, device: torch.device) -> Any:
    """Tensors on ``device``, but for torch's step counters, which live on the CPU."""
    return value.to(device) if isinstance(value, Tensor) and kind != "step" else value
