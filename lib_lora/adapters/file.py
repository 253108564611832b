"""LoRA files: kohya-compatible safetensors in and out. Nothing is ever unpickled."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import chain, takewhile
from pathlib import Path

import torch
from torch import Tensor

from lib_lora.adapters import container, serialise
from lib_lora.adapters import metadata as about
from lib_lora.adapters.build import adapter_from
from lib_lora.adapters.delta import Delta
from lib_lora.adapters.finite import is_finite
from lib_lora.adapters.layers import Layers, Params, outline
from lib_lora.adapters.reading import Opened, open_layers
from lib_lora.adapters.recognition import candidates, layer_shapes
from lib_lora.adapters.serialise import as_stored
from lib_lora.adapters.tensor_names import split
from lib_lora.adapters.workers import made_ahead
from lib_lora.errors import UserError
from lib_lora.files import atomic_write
from lib_lora.models.families import family
from lib_lora.models.family import Family

SAVED_AS = ("adapter_model", "pytorch_lora_weights")  # PEFT's and diffusers' name of every file


@dataclass
class LoraFile:
    """A LoRA as stored, under our names of layers (:mod:`spelling`).

    Attributes:
        modules: layer key -> parameter name -> tensor, in the file's dtype.
        extras: what belongs to no layer, such as bundled textual inversions, by the file's own names.
        unplaced: tensors of layers that the family does not have, by the file's own names; they act nowhere.
        families: that it may be of, the likeliest first; empty for none that is known.
        left_out: layers that do nothing in any program -> why.
    """

    path: Path | None
    metadata: dict[str, str] = field(default_factory=dict)
    modules: Mapping[str, Params] = field(default_factory=dict)
    extras: dict[str, Tensor] = field(default_factory=dict)
    unplaced: dict[str, Tensor] = field(default_factory=dict)
    families: tuple[Family, ...] | None = None
    left_out: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.families is None:
            shapes = {name: tensor.shape for name, tensor in join_keys(outline(self.modules)).items()}
            self.families = candidates(layer_shapes(shapes), self.metadata)

    @property
    def name(self) -> str:
        """The file's name without folder and ending; ``"unsaved"`` when there is no file."""
        return "unsaved" if self.path is None else self.path.stem

    @property
    def family(self) -> Family:
        """The likeliest of the families that it may be of; SD1 for none."""
        return self.families[0] if self.families else family("sd1")

    @property
    def lost(self) -> int:
        """How many of its layers have no place in its family."""
        return len({split(name)[0] for name in self.unplaced})

    @property
    def remarks(self) -> list[str]:
        """What a user of this file should know: layers that act nowhere, or do nothing."""
        zero = [key for key, params in outline(self.modules).items() if _is_scaled_away(params)]
        lost = sorted({split(name)[0] for name in self.unplaced})
        found = []
        if lost:
            found.append(f"{_layers(len(lost))} no place in {self.family.label}, such as {lost[0]}")
        if self.left_out:
            key, why = next(iter(self.left_out.items()))
            found.append(f"{_layers(len(self.left_out))} been left out, such as {key}: {why}")
        if zero:
            found.append(f"{_layers(len(zero))} alpha 0 and so no effect, as in the web UIs, such as {zero[0]}")
        return [f"{self.name}: {remark}" for remark in found]


def _layers(count: int) -> str:
    return "1 layer has" if count == 1 else f"{count} layers have"


def _is_scaled_away(params: Params) -> bool:
    """Whether alpha is 0 and is a scale; OFT and BOFT have a constraint there, and a full difference ignores it."""
    alpha = params.get("alpha")
    if {"oft_blocks", "diff"} & params.keys():
        return False
    return alpha is not None and not alpha.is_meta and alpha.numel() == 1 and float(alpha) == 0


def read_lora(path: str | Path) -> LoraFile:
    """Read and check a LoRA file.

    Args:
        path: the file, or a folder in which PEFT or diffusers saved one.

    Raises:
        UserError: naming the file, for one that is missing, damaged, foreign, of an algorithm that is not supported,
            or that holds NaN, infinity or whole numbers.
    """
    opened = open_layers(_in_folder(Path(path)))
    return _file(opened, opened.at_once())


def open_lora(path: str | Path) -> LoraFile:
    """As :func:`read_lora`, but ``modules`` reads each layer when it is asked for: for files too large for memory.

    What a layer's numbers are, such as NaN, is told then.
    """
    opened = open_layers(_in_folder(Path(path)))
    return _file(opened, opened.on_demand())


def _file(opened: Opened, modules: Mapping[str, Params]) -> LoraFile:
    source, spelled = opened.container, opened.spelled
    unplaced = source.read(name for names in spelled.unplaced.values() for name in names.values())
    extras = source.read(spelled.extras)
    return LoraFile(source.path, source.metadata, modules, extras, unplaced, spelled.families, opened.left_out)


def _in_folder(path: Path) -> Path:
    """The file of a folder that PEFT or diffusers saved; any other path as it is."""
    if not path.is_dir():
        return path
    return next((file for name in SAVED_AS if (file := path / f"{name}.safetensors").is_file()), path)


def read_metadata(path: str | Path) -> dict[str, str]:
    """The metadata of a safetensors file, without reading its tensors. Errors as :func:`read_lora` where they apply."""
    return container.read_metadata(Path(path))


def write_lora(
    path: str | Path,
    modules: Mapping[str, Params] | Mapping[str, Tensor],
    metadata: Mapping[str, str],
    dtype: torch.dtype | None = torch.float16,
    overwrite: bool = False,
    *,
    extras: Mapping[str, Tensor] | None = None,
) -> Path:
    """Write a LoRA file, whole or not at all, with the ``sshs_*`` hashes of what is written.

    The same tensors and metadata give the same bytes. ``alpha`` stays float32, so that the scale is not rounded. Layers
    are asked for one by one, in the order in which they lie in the file, and each only once.

    Args:
        modules: layer key -> parameter name -> tensor, or flat ``key.parameter`` names.
        dtype: stored precision; None keeps each tensor's own.
        overwrite: replace an existing file.
        extras: what belongs to no layer, by its name in the file.

    Raises:
        UserError: when the file exists, or a value does not fit ``dtype``.
    """
    path = Path(path)
    if path.exists() and not overwrite:
        raise UserError("The file exists already", where=path, fix="Choose another name, or allow overwriting.")
    layers = _nested(modules)
    names = {**join_keys(outline(layers)), **(extras or {})}
    entries = serialise.layout({name: as_stored(name, tensor.to("meta"), dtype) for name, tensor in names.items()})
    metadata = {str(k): str(v) for k, v in metadata.items()}
    training = {name: value for name, value in metadata.items() if name.startswith("ss_")}
    with atomic_write(path, new=not overwrite) as part, open(part, "w+b") as file:
        start = file.write(serialise.head(entries, about.without_hashes(metadata)))
        digest = serialise.HashOnTheWay(_numbers_at_first(names, entries, dtype))
        shapes = outline(layers)
        ends = {key: max((entries[f"{key}.{name}"].end for name in shapes[key]), default=0) for key in shapes}
        made = made_ahead(
            lambda key: _as_stored(join_keys({key: layers[key]}), dtype), sorted(ends, key=ends.__getitem__)
        )
        for tensors in chain([_as_stored(extras or {}, dtype)], made):
            for name in sorted(tensors, key=lambda name: entries[name].begin):
                piece = container.bytes_of(tensors[name])
                file.seek(start + entries[name].begin)
                file.write(piece)
                digest.wrote(entries[name].begin, piece)
        found = about.hashes(file, start, serialise.head(entries, training), digest.digest())
        file.seek(0)
        file.write(serialise.head(entries, {**metadata, **found}))
    return path


def _numbers_at_first(
    names: Mapping[str, Tensor], entries: Mapping[str, container.Entry], dtype: torch.dtype | None
) -> bytes:
    """The bytes of the single numbers that a file begins with, which are alphas as a rule, as far as they are known."""
    known = takewhile(lambda name: names[name].numel() == 1 and not names[name].is_meta, entries)
    return b"".join(container.bytes_of(as_stored(name, names[name], dtype).cpu()) for name in known)


def _nested(modules: Mapping[str, Params] | Mapping[str, Tensor]) -> Mapping[str, Params]:
    if isinstance(modules, Layers):
        return modules
    flat = {name: value for name, value in modules.items() if isinstance(value, Tensor)}
    layers = {key: value for key, value in modules.items() if not isinstance(value, Tensor)}
    return {**layers, **split_keys(flat)}


def _as_stored(tensors: Mapping[str, Tensor], dtype: torch.dtype | None) -> dict[str, Tensor]:
    return {name: _checked(name, as_stored(name, t, dtype).cpu().contiguous()) for name, t in tensors.items()}


def model_hash(path: str | Path, given_up: Callable[[], bool] = lambda: False) -> str:
    """``sshs_model_hash`` of a file: SHA-256 of its tensors' bytes, which does not depend on the metadata.

    Args:
        given_up: whether nobody waits for it any more: it is worth nothing then.
    """
    return container.data_hash(Path(path), given_up)


def split_keys(tensors: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """``{"key.param": t}`` as ``{"key": {"param": t}}``; the first dot separates."""
    modules: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        key, _, param = name.partition(".")
        modules.setdefault(key, {})[param] = tensor
    return modules


def join_keys(modules: Mapping[str, Params]) -> dict[str, Tensor]:
    """The reverse of :func:`split_keys`."""
    return {f"{key}.{name}": tensor for key, params in modules.items() for name, tensor in params.items()}


def to_delta(params: Mapping[str, Tensor], base: Tensor | None = None) -> Delta:
    """ΔW of one layer's stored tensors, at least float32.

    Args:
        base: the adapted weight, for algorithms that need it.
    """
    adapter = adapter_from(params)
    if base is not None:
        adapter.fit(base.shape)
    return adapter.delta(base)


def _checked(name: str, tensor: Tensor) -> Tensor:
    """``tensor``, or a UserError where its type cannot hold its numbers."""
    if not is_finite(tensor):
        raise UserError(
            f"{name} holds values that {str(tensor.dtype).removeprefix('torch.')} cannot store",
            where="precision",
            fix="Save as bfloat16 or float32; if that fails too, the training has diverged.",
        )
    return tensor
