"""The weights that adapters act on, by layer key: of a loaded model, or of a checkpoint file, read one by one."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import torch
from torch import Tensor, nn

from lib_lora.adapters import container
from lib_lora.adapters.recognition import candidates
from lib_lora.adapters.tensor_names import ROOTS
from lib_lora.errors import UserError
from lib_lora.models.families import families
from lib_lora.models.family import Family
from lib_lora.models.weights import fetch_weight

# Beginnings of a denoiser's tensors; files of a transformer alone have none
DENOISER = ("model.diffusion_model.", "diffusion_model.", "")
# Beginning of a text encoder's tensors -> of its layers' keys; the last two have OpenCLIP's names
CLIP = {
    "cond_stage_model.transformer.": "lora_te_",
    "conditioner.embedders.0.transformer.": "lora_te1_",
    **{root: ours for root, ours in ROOTS.items() if root.startswith("text_encoders.")},
}
OPEN_CLIP = {"cond_stage_model.model.": "lora_te_", "conditioner.embedders.1.model.": "lora_te2_"}
_RESBLOCK = re.compile(r"transformer\.resblocks\.(\d+)\.(.+)\.weight")
_RESBLOCK_LAYERS = {
    "attn.out_proj": "self_attn_out_proj",
    "mlp.c_fc": "mlp_fc1",
    "mlp.c_proj": "mlp_fc2",
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
}
_FUSED = re.compile(r"transformer\.resblocks\.(\d+)\.attn\.in_proj_weight")


@dataclass(frozen=True)
class Place:
    """Where a layer's weight is in a checkpoint: a tensor, or one of the thirds that OpenCLIP stacks in one.

    Attributes:
        rows: of the layer, that are in this tensor, where the checkpoint splits it; None is all.
    """

    name: str
    third: int | None = None
    rows: tuple[int, int] | None = None

    @property
    def bias(self) -> str:
        """The tensor of the layer's bias, which is divided alike."""
        if self.third is not None:
            return self.name.removesuffix("weight") + "bias"
        return self.name.removesuffix(".weight") + ".bias"

    def part(self, tensor: Tensor) -> Tensor:
        """The layer's part of the tensor; a view."""
        return tensor if self.third is None else tensor.chunk(3)[self.third]

    def of(self, change: Tensor) -> Tensor:
        """What of a change of the whole layer belongs here."""
        return change if self.rows is None else change[self.rows[0] : self.rows[1]]


def places(shapes: Mapping[str, Sequence[int]]) -> tuple[tuple[Family, ...], dict[str, tuple[Place, ...]]]:
    """The families that a checkpoint may be of, and layer key -> where its weight is, in the order of its rows.

    Args:
        shapes: tensor name -> its shape; of a whole checkpoint, or of a transformer alone.

    Raises:
        UserError: the names are not those of a checkpoint.
    """
    text: dict[str, Place] = {}
    denoiser: dict[str, str] = {}
    sizes: dict[str, tuple[int, int]] = {}
    start = next(start for start in DENOISER if any(name.startswith(start) for name in shapes) or not start)
    for name, shape in shapes.items():
        size = (shape[0], shape[1]) if len(shape) > 1 else (0, 0)
        if found := _text_encoder_places(name):
            text |= found
            sizes |= dict.fromkeys(found, (size[0] // len(found), size[1]))
        elif name.startswith(start) and name.endswith(".weight"):
            key = f"lora_unet_{name[len(start) : -len('.weight')].replace('.', '_')}"
            denoiser[key], sizes[key] = name, size
    of = candidates(sizes)
    if not of or not any(of[0].place(key) for key in denoiser):
        known = ", ".join(one.short for one in families().values())
        raise UserError("This is no checkpoint of a model that is known here", fix=f"Choose one of {known}.")
    return of, {key: (place,) for key, place in text.items()} | _denoiser_places(of[0], denoiser, shapes)


def _denoiser_places(
    of: Family, names: Mapping[str, str], shapes: Mapping[str, Sequence[int]]
) -> dict[str, tuple[Place, ...]]:
    whole: dict[str, tuple[Place, ...]] = {}
    parts: dict[str, dict[int, str]] = {}
    for key, name in names.items():
        place = of.place(key)
        if place is None or place.parts == 1:
            whole[place.key if place else key] = (Place(name),)
        else:
            parts.setdefault(place.key, {})[place.part] = name
    for key, pieces in parts.items():
        if len(pieces) == len(of.names.shares(key)):  # a layer that is not whole can be neither read nor changed
            ordered = [pieces[number] for number in sorted(pieces)]
            ends = list(accumulate(shapes[name][0] for name in ordered))
            rows = zip([0, *ends[:-1]], ends, strict=True)
            whole[key] = tuple(Place(name, rows=row) for name, row in zip(ordered, rows, strict=True))
    return whole


def _text_encoder_places(name: str) -> dict[str, Place]:
    for start, prefix in CLIP.items():
        if name.startswith(start) and name.endswith(".weight"):
            return {prefix + name[len(start) : -len(".weight")].replace(".", "_"): Place(name)}
    for start, prefix in OPEN_CLIP.items():
        rest = name.removeprefix(start)
        layer = f"{prefix}text_model_encoder_layers_"
        if rest != name and (match := _FUSED.fullmatch(rest)):
            return {f"{layer}{match[1]}_self_attn_{p}_proj": Place(name, i) for i, p in enumerate("qkv")}
        if rest != name and (match := _RESBLOCK.fullmatch(rest)) and match[2] in _RESBLOCK_LAYERS:
            return {f"{layer}{match[1]}_{_RESBLOCK_LAYERS[match[2]]}": Place(name)}
    return {}


class CheckpointWeights(Mapping[str, Tensor]):
    """The weights of a safetensors checkpoint by layer key; each is read when it is asked for."""

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.container = container.open_container(self.path)
        try:
            self.families, self.places = places({n: e.shape for n, e in self.container.entries.items()})
        except UserError as error:
            raise UserError(error.what, where=self.path, fix=error.fix) from error

    @property
    def name(self) -> str:
        """The checkpoint's, without folder and ending."""
        return self.path.stem

    @property
    def family(self) -> Family:
        """The likeliest of the families that it may be of."""
        return self.families[0]

    def __getitem__(self, key: str) -> Tensor:
        parts = [place.part(self.container.read([place.name])[place.name]) for place in self.places[key]]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def __iter__(self) -> Iterator[str]:
        return iter(self.places)

    def __len__(self) -> int:
        return len(self.places)


def shapes_of(base: Mapping[str, Tensor] | None) -> Mapping[str, Tensor] | None:
    """``base`` without numbers, where they would have to be read from a file."""
    if not isinstance(base, CheckpointWeights):
        return base
    shapes = base.container.outline()
    return {key: torch.cat([p.part(shapes[p.name]) for p in places]) for key, places in base.places.items()}


class LayerWeights(Mapping[str, Tensor]):
    """The weights of live layers, by layer key; ``name`` is that of their checkpoint."""

    def __init__(self, layers: Mapping[str, nn.Module], name: str = "the loaded model"):
        self._layers, self.name = layers, name

    def __getitem__(self, key: str) -> Tensor:
        return fetch_weight(self._layers[key], torch.float32, torch.device("cpu"))

    def __iter__(self) -> Iterator[str]:
        return iter(self._layers)

    def __len__(self) -> int:
        return len(self._layers)
