"""How LoRA files call their layers, and the one way we call them.

Our names are kohya's: for SD1 and SD2 with diffusers' names of the U-Net's blocks, for all others with those of the
original code. Which names are read, :mod:`tensor_names` and the families say. Only names and shapes are looked at here:
what the numbers mean is :mod:`settle`'s work, and :mod:`joined`'s where a file splits layers that the model does not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from lib_lora.adapters.recognition import candidates, layer_shapes, names_of
from lib_lora.errors import UserError
from lib_lora.models.family import Family

EXTRA = "bundle_emb."  # textual inversions that a LoRA file carries along
Names = Mapping[str, str]  # parameter name -> the file's name of the tensor


@dataclass(frozen=True)
class Spelled:
    """A file's tensors under our names; in all of it, tensors are the file's own names of them.

    Attributes:
        layers: layer key -> number of the part -> parameter name -> tensor; one part, 0, where a file does not split.
        extras: what belongs to no layer.
        unplaced: key in the file's spelling -> parameters, of layers that the family does not have.
        families: that the file may be of, the likeliest first.
    """

    layers: dict[str, dict[int, Names]] = field(default_factory=dict)
    extras: tuple[str, ...] = ()
    unplaced: dict[str, Names] = field(default_factory=dict)
    families: tuple[Family, ...] = ()

    def shares(self, key: str) -> tuple[int, ...]:
        """Rows of a layer's parts in proportion; ``(1,)`` where the file does not split it."""
        return self.families[0].names.shares(key) if any(self.layers[key]) or len(self.layers[key]) > 1 else (1,)


def layers_of(shapes: Mapping[str, Sequence[int]], metadata: Mapping[str, str]) -> Spelled:
    """Which layer and parameter each of a file's tensors is.

    Args:
        shapes: tensor name -> its shape.

    Raises:
        UserError: two tensors are one parameter of one layer.
    """
    extras = tuple(name for name in shapes if name.startswith(EXTRA))
    own = {name: shape for name, shape in shapes.items() if not name.startswith(EXTRA)}
    named, families = names_of(own), candidates(layer_shapes(own), metadata)
    spelled: dict[str, dict[str, str]] = {}
    for name, (key, param) in named.items():
        _put(spelled.setdefault(key, {}), param, name)
    layers: dict[str, dict[int, dict[str, str]]] = {}
    unplaced: dict[str, Names] = {}
    for key, params in spelled.items():
        place = families[0].place(key) if families else None
        if place is None:
            unplaced[key] = params
            continue
        part = layers.setdefault(place.key, {}).setdefault(place.part, {})
        for param, name in params.items():
            _put(part, param, name)
    return Spelled({key: dict(parts) for key, parts in layers.items()}, extras, unplaced, families)


def _put(params: dict[str, str], param: str, name: str) -> None:
    if param in params:
        what = f"{params[param]} and {name} are two tensors for one"
        raise UserError(what, fix="The file holds several adapters, or one in two spellings: save them apart.")
    params[param] = name
