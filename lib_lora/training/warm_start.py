"""A run that starts with the weights of a LoRA file instead of with nothing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from lib_lora.adapters.base import Adapter
from lib_lora.adapters.build import adapter_from
from lib_lora.adapters.file import read_lora
from lib_lora.adapters.network import Network
from lib_lora.errors import UserError
from lib_lora.lora_files import Folders, find_lora


def start_file(name: str, folders: Folders) -> Path:
    """The file that the setting *Start from* means: a path, or the name of a LoRA in ``folders``.

    Raises:
        UserError: there is none.
    """
    path = Path(name.strip().strip('"'))
    return path if path.is_file() else find_lora(name.strip(), folders)


def start_from(network: Network, path: Path) -> list[str]:
    """Copy a file's weights into a fresh network, so that ΔW is the file's; returns what did not fit as sentences.

    Another alpha is allowed for: a factor is scaled so that ΔW stays.

    Raises:
        UserError: another algorithm or rank than the network's, or no layer in common; the network is unchanged then.
    """
    modules = read_lora(path).modules
    shared = [key for key in network.adapters if key in modules]
    if not shared:
        fix = "Train the same parts as the file does, on a model of its family"
        raise UserError("The file has none of the layers that are to be trained", where=path, fix=fix)
    loaded = {key: _parameters(network.adapters[key], modules[key], path) for key in shared}
    with torch.no_grad():
        for key, values in loaded.items():
            for parameter, value in zip(network.adapters[key].parameters(), values, strict=True):
                parameter.copy_(value)
    fresh, unused = len(network.adapters) - len(shared), len(modules.keys() - network.adapters.keys())
    notes = [f"{fresh} layers start from nothing, because {path.name} does not have them"] if fresh else []
    return notes + ([f"{unused} layers of {path.name} are not trained here, and are left out"] if unused else [])


def _parameters(adapter: Adapter, tensors: Mapping[str, Tensor], path: Path) -> list[Tensor]:
    """The file's tensors in the form of ``adapter.parameters()``."""
    loaded = adapter_from({name: t.float() for name, t in tensors.items()}, adapter.weight_shape)
    ours, theirs = _inner(adapter), _inner(loaded)
    if hasattr(ours, "scaled_param") and hasattr(theirs, "scaled_param") and ours.scale != theirs.scale:
        name, ratio = theirs.scaled_param, theirs.scale / ours.scale
        scaled = {**tensors, name: tensors[name].float() * ratio}
        loaded = adapter_from({name: t.float() for name, t in scaled.items()}, adapter.weight_shape)
    expected, found = _shapes(adapter), _shapes(loaded)
    if expected != found or _other_scale(ours, theirs):
        what = f"The file has {_named(theirs)}, the settings ask for {_named(ours)}"
        raise UserError(what, where="start_from", fix=f"Set algorithm, rank and alpha as in {path.name}")
    return [p.detach() for p in loaded.parameters()]


def _inner(adapter: Adapter) -> Adapter:
    """What DoRA is wrapped around."""
    return getattr(adapter, "inner", adapter)


def _other_scale(ours: Adapter, theirs: Adapter) -> bool:
    """A scale that differs and belongs to no single factor."""
    return not hasattr(ours, "scaled_param") and getattr(ours, "scale", None) != getattr(theirs, "scale", None)


def _named(adapter: Adapter) -> str:
    rank = f" of rank {adapter.rank}" if hasattr(adapter, "rank") else ""
    return f"{adapter.algorithm}{rank}"


def _shapes(adapter: Adapter) -> dict[str, torch.Size]:
    return {name: parameter.shape for name, parameter in adapter.named_parameters()}
