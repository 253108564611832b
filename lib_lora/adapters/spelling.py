"""How LoRA files call their layers, and the one way we call them.

Our names are kohya's: for SD1 and SD2 with diffusers' names of the U-Net's blocks, for all others with those of the
original code. Which names are read, :mod:`tensor_names` and the families say. What is translated is the name, never a
number, except PEFT's magnitude vector, which becomes a DoRA scale of the output axis, and layers that a file splits and
the model does not, which are joined (:mod:`joined`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from lib_lora.adapters.joined import join
from lib_lora.adapters.recognition import candidates, layer_shapes, names_of
from lib_lora.adapters.tensor_names import ROOTS
from lib_lora.errors import UserError
from lib_lora.models.family import Family

EXTRA = "bundle_emb."  # textual inversions that a LoRA file carries along


@dataclass(frozen=True)
class Reading:
    """A file's tensors under our names.

    Attributes:
        modules: layer key -> parameter name -> tensor.
        extras: what belongs to no layer, by the file's own names.
        unplaced: tensors of layers that the family does not have, by the file's own names.
        families: that the file may be of, the likeliest first.
    """

    modules: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    extras: dict[str, Tensor] = field(default_factory=dict)
    unplaced: dict[str, Tensor] = field(default_factory=dict)
    families: tuple[Family, ...] = ()


def read_modules(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> Reading:
    """A file's tensors under our names."""
    extras = {name: tensor for name, tensor in tensors.items() if name.startswith(EXTRA)}
    shapes = {name: tensor.shape for name, tensor in tensors.items() if name not in extras}
    named, found = names_of(shapes), candidates(layer_shapes(shapes), metadata)
    spelled: dict[str, dict[str, Tensor]] = {}
    for name, (key, param) in named.items():
        tensor = tensors[name].reshape(-1, 1) if "magnitude" in name else tensors[name]
        spelled.setdefault(key, {})[param] = tensor
    _add_peft_alphas(spelled, metadata)
    modules: dict[str, dict[str, Tensor]] = {}
    lost: set[str] = set()
    parts: dict[str, dict[int, str]] = {}
    for key, params in spelled.items():
        place = found[0].place(key) if found else None
        if place is None:
            lost.add(key)
        elif place.parts == 1:
            modules[place.key] = params
        else:
            parts.setdefault(place.key, {})[place.part] = key
    for key, own in parts.items():
        try:
            shares = found[0].names.shares(key)
            modules[key] = join({part: spelled[name] for part, name in own.items()}, shares)
        except UserError:
            lost |= set(own.values())
    unplaced = {name: tensors[name] for name, (key, _) in named.items() if key in lost}
    return Reading(modules, extras, unplaced, found)


def _add_peft_alphas(modules: dict[str, dict[str, Tensor]], metadata: Mapping[str, str]) -> None:
    """The alphas that diffusers keeps in the metadata, for layers without one of their own."""
    try:
        config = json.loads(metadata.get("lora_adapter_metadata", "{}"))
    except ValueError:
        return
    for key, params in modules.items():
        root = next((root for root, ours in ROOTS.items() if key.startswith(ours) and _says(config, root)), None)
        alpha = config.get(f"{root}lora_alpha") if root else None
        if isinstance(alpha, (int, float)) and "alpha" not in params and "lora_down.weight" in params:
            patterns = config.get(f"{root}alpha_pattern")
            patterns = patterns if isinstance(patterns, dict) else {}
            special = [a for path, a in patterns.items() if key.endswith(path.replace(".", "_"))]
            params["alpha"] = torch.tensor(float(special[0] if special else alpha))


def _says(config: object, root: str) -> bool:
    return isinstance(config, dict) and f"{root}lora_alpha" in config
