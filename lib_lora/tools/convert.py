"""A LoRA for a chosen program: layers of kinds that it does not apply become LoRA, others stay as they are.

A1111, Forge, Forge Neo and ComfyUI read our names, kohya's; for diffusers it is written under that library's own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial, reduce
from pathlib import Path

import torch

from lib_lora.lora_files import Folders, find_lora

from ..adapters import metadata as about
from ..adapters.algorithms.lora import BIAS, DOWN
from ..adapters.diffusers_names import for_diffusers, module_paths
from ..adapters.file import LoraFile, open_lora
from ..adapters.formula import Term, parse
from ..adapters.layers import Layers, Params, outline
from ..adapters.loaders import applied_by, kinds, kinds_of
from ..adapters.merge import combine
from ..adapters.merged import Merged, MergeReport
from ..errors import UserError
from .merge import EXACT, LoadBase, Reduction, merge, needs_base


@dataclass(frozen=True)
class Program:
    """A choice of *for*.

    Attributes:
        label: for the user.
        loaders: those of :func:`~lib_lora.adapters.loaders.applied_by` that must all apply a layer.
        runs: names in ``Family.programs``, one of which must be there; none for all families.
        own_names: whether it is written under diffusers' names, which have room for LoRA layers alone.
    """

    label: str
    loaders: Sequence[str]
    runs: Sequence[str]
    own_names: bool = False


PROGRAMS = {
    "a1111-forge": Program("A1111 and Forge", ("AUTOMATIC1111", "Forge"), ("AUTOMATIC1111", "Forge")),
    # Not measured kind by kind: what both Forge and ComfyUI apply, from which its loader comes
    "forge-neo": Program("Forge Neo", ("Forge", "ComfyUI"), ("Forge Neo",)),
    "comfyui": Program("ComfyUI", ("ComfyUI",), ("ComfyUI",)),
    "diffusers": Program("diffusers", ("diffusers",), (), own_names=True),
}


def convert(
    file: LoraFile,
    program: str,
    *,
    rank: int | None = None,
    energy: float | None = None,
    base: LoadBase | None = None,
) -> Merged:
    """``file`` with only such layers as ``program`` applies, not saved yet.

    A layer of another kind becomes LoRA through its exact change of the weight. All others keep their tensors.
    ``.report`` has the relative error of the converted layers, and as remarks what was done and what was left out.

    Args:
        program: one of :data:`PROGRAMS`.
        rank: of converted layers, at most; None takes as much as is needed.
        energy: or the smallest rank that keeps this share of Σσ².
        base: gives the weights that DoRA, GLoRA, IA3, OFT and BOFT act on; called only where such a layer is converted.

    Raises:
        UserError: an unknown program, one that does not run the file's family, or weights that are needed and missing.
    """
    chosen = _program(program, file)
    layers = outline(file.modules)
    kept_kinds = frozenset.intersection(*(applied_by(name) for name in chosen.loaders))
    unread = {key: kinds_of({key: params}) - kept_kinds for key, params in layers.items()}
    unread = {key: found for key, found in unread.items() if found}
    made, report = _as_lora(file, list(unread), rank, energy, base)
    lost = [key for key, params in made.items() if kinds_of({key: params}) - kept_kinds]
    shapes = {key: params for key, params in layers.items() if key not in unread}
    shapes |= {key: params for key, params in made.items() if key not in lost}
    nameless = [key for key in shapes if chosen.own_names and not module_paths(key, file.family)]
    shapes = {key: params for key, params in shapes.items() if key not in nameless}
    if not shapes:
        fix = "Choose another program."
        raise UserError(f"{chosen.label} applies none of its layers", where=file.name, fix=fix)
    report.remarks = [*file.remarks, *_remarks(chosen, file, unread, lost)]
    if chosen.own_names:
        shapes = {key: _without_bias(params) for key, params in shapes.items()}
        if nameless:
            what = f"{_layers(len(nameless))} left out, which {chosen.label} does not have, such as {nameless[0]}"
            report.remarks.append(what)
        if any(BIAS in params for params in (*layers.values(), *made.values())):
            report.remarks.append(f"{chosen.label} takes no changes of biases; they are left out")
    report.warnings = list(report.remarks)

    def layer(key: str) -> Params:
        params = made[key] if key in made else file.modules[key]
        return _without_bias(params) if chosen.own_names else params

    widest = max((params[DOWN].shape[0] for params in shapes.values() if DOWN in params), default=0)
    return Merged(
        modules=Layers(shapes, layer),
        report=report,
        rank=widest,
        metadata={
            **(about.base_model_of(file.family) if chosen.own_names else {}),  # SDXL's names are SD1's there
            **file.metadata,
            **(_plain(widest) if made and kinds_of(shapes) == {"lora"} else {}),
        },
        sources=() if file.path is None else (file.path,),
        extras={} if chosen.own_names else {**file.extras, **file.unplaced},
        spelled=partial(for_diffusers, family=file.family) if chosen.own_names else None,
    )


def for_program(merged: Merged, program: str, base: LoadBase | None = None) -> Merged:
    """A merge for one of :data:`PROGRAMS`, as :func:`convert`; the report still says what the merge itself lost.

    Layers that become LoRA do so exactly, whatever limits the merge had: these chose their rank.
    """
    made = convert(merged.file(), program, base=base)
    known = merged.report.remarks
    remarks = [*known, *(remark for remark in made.report.remarks if remark not in known)]
    made.report = replace(merged.report, remarks=remarks, warnings=list(remarks))
    made.sources = merged.sources
    return made


def merge_for(
    program: str,
    formula: str,
    loras: Folders,
    reduction: Reduction = EXACT,
    *,
    presets: Path | None = None,
    base: LoadBase | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Merged:
    """As :func:`~lib_lora.tools.merge.merge`, for one of :data:`PROGRAMS`; an empty text is none.

    One file as it is, not reduced, keeps the layers that the program applies; all else that a merge makes is LoRA
    or a full difference anyway.
    """
    terms = parse(formula)
    rank, energy = reduction.rank, reduction.energy
    if program and terms == [Term(terms[0].name, 1.0)] and rank is None and energy is None:
        return convert(open_lora(find_lora(terms[0].name, loras)), program, base=base)
    merged = merge(formula, loras, presets=presets, base=base, progress=progress, rank=rank, energy=energy)
    return for_program(merged, program, base) if program else merged


def precision_of(file: LoraFile) -> torch.dtype:
    """The type that holds all its numbers, so that saving in it changes none."""
    types = {
        tensor.dtype
        for params in outline(file.modules).values()
        for name, tensor in params.items()
        if name != "alpha" and tensor.is_floating_point()
    }
    if len(types) == 1:
        return types.pop()
    # Float16 holds all numbers of both 8-bit types, which torch does not promote
    return reduce(torch.promote_types, (t if t.itemsize > 1 else torch.float16 for t in types), torch.float16)


def program_called(name: str, where: str = "for") -> Program:
    """One of :data:`PROGRAMS`; a UserError at the setting ``where`` for another name."""
    if name not in PROGRAMS:
        raise UserError(f"Unknown program {name!r}", where=where, fix=f"Use one of {', '.join(PROGRAMS)}.")
    return PROGRAMS[name]


def _program(name: str, file: LoraFile) -> Program:
    program = program_called(name)
    if file.families and program.runs and not any(set(program.runs) & set(family.programs) for family in file.families):
        what = f"{program.label} is not known to read a LoRA for {file.family.label} under these names of layers"
        fix = f"Use it in {', '.join(file.family.programs)}."
        raise UserError(what, where=file.name, fix=fix)
    return program


def _as_lora(
    file: LoraFile, keys: Sequence[str], rank: int | None, energy: float | None, base: LoadBase | None
) -> tuple[Mapping[str, Params], MergeReport]:
    """The layers ``keys`` as LoRA, but for those that are no matrix, and what that loses."""
    if not keys:
        return {}, MergeReport()
    shapes = outline(file.modules)
    part = replace(file, modules=Layers({key: shapes[key] for key in keys}, file.modules.__getitem__), extras={})
    weights = base() if base is not None and needs_base(part) else None
    whole = 1.0 if rank is None and energy is None else energy  # all of it, but as factors
    merged = combine([(part, 1.0, None)], rank=rank, energy=whole, base=weights)
    return merged.modules, merged.report


def _remarks(program: Program, file: LoraFile, unread: Mapping[str, set[str]], lost: Sequence[str]) -> list[str]:
    found = set().union(*unread.values())
    labels = ", ".join(label for kind, label in kinds().items() if kind in found)
    remarks = []
    if count := len(unread) - len(lost):
        remarks.append(f"{_layers(count)} became LoRA for {program.label}, which does not apply {labels} as trained")
    if lost:
        remarks.append(f"{_layers(len(lost))} left out, as LoRA cannot say their change, such as {lost[0]}")
    if program.own_names and (file.extras or file.unplaced):
        remarks.append(f"{program.label} refuses what is no layer; {len(file.extras | file.unplaced)} tensors left out")
    return remarks


def _layers(count: int) -> str:
    return "1 layer" if count == 1 else f"{count} layers"


def _without_bias(params: Params) -> Params:
    return {name: tensor for name, tensor in params.items() if name != BIAS}


def _plain(rank: int) -> dict[str, str]:
    """What the metadata say of a file that has become one of LoRA."""
    values = {"network_module": "networks.lora", "network_dim": rank, "network_alpha": float(rank), "network_args": {}}
    return about.kohya(values)
