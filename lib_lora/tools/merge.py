"""From a formula, or two checkpoints, to a LoRA or a checkpoint, with the names looked up in the host's folders."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from lib_lora.lora_files import Folders, find_lora, new_path
from lib_lora.lora_index import SUFFIX

from ..adapters import formula as formulas
from ..adapters.blocks import BlockWeights, load_presets
from ..adapters.build import adapter_from
from ..adapters.checkpoint import merge_into_checkpoint
from ..adapters.file import LoraFile, open_lora
from ..adapters.layers import outline
from ..adapters.merge import MergeTerm, combine
from ..adapters.merged import Merged
from ..adapters.workers import made_ahead
from ..errors import UserError
from ..file_sets import file_set, finish_sets

LoadBase = Callable[[], "Mapping[str, Tensor]"]


@dataclass(frozen=True)
class Reduction:
    """How small a result is to be.

    Args:
        rank: of each layer at most; None keeps the exact sum.
        energy: share of Σσ² that each layer keeps at the smallest rank that does; None keeps what ``rank`` allows.
    """

    rank: int | None = None
    energy: float | None = None

    def __str__(self) -> str:
        limits = [f"rank {self.rank}" if self.rank else "", f"quality {self.energy:.2%}" if self.energy else ""]
        return " and ".join(filter(None, limits)) or "exact"


EXACT = Reduction()


def merge(
    formula: str,
    loras: Folders,
    *,
    presets: Path | None = None,
    rank: int | None = None,
    energy: float | None = None,
    base: LoadBase | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Merged:
    """The merge that ``formula`` says, not saved yet; ``.report`` has what a reduced rank loses.

    Args:
        formula: ``NAME:weight:BLOCKS,…``, see :mod:`lib_lora.adapters.formula`.
        loras: folder or folders that the names are looked up in.
        presets: file with the user's own block presets, over the built-in ones; it need not exist.
        rank: reduce each layer to at most this; None keeps the exact sum.
        energy: or to the smallest rank that keeps this share of its energy, such as 0.99.
        base: gives the weights that DoRA, GLoRA, IA3, OFT and BOFT act on; called only where a file has one of them.
        progress: called with (layers done, layers); what it raises ends the merge.

    Raises:
        UserError: a formula, name, preset or file that cannot be used.
    """
    terms = read_terms(formula, loras, presets)
    weights = base() if base is not None and any(needs_base(file) for file, _, _ in terms) else None
    return combine(terms, rank=rank, energy=energy, base=weights, formula=formula, progress=progress)


def resize(
    name: str,
    loras: Folders,
    *,
    rank: int | None = None,
    energy: float | None = None,
    base: LoadBase | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Merged:
    """One file of any algorithm as LoRA: of a smaller rank, layer by layer, or exact where neither limit is given.

    Arguments and errors are those of :func:`merge`.
    """
    formula = formulas.render([formulas.Term(name, 1.0)])
    return merge(formula, loras, rank=rank, energy=energy, base=base, progress=progress)


def merge_to_checkpoint(
    formula: str,
    loras: Folders,
    checkpoint: Path,
    target: Path,
    *,
    presets: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[str]:
    """Write ``target``: ``checkpoint`` with the formula's changes; a yaml that lies beside it goes along.

    Returns:
        The layers that the checkpoint does not have, which are left out.

    Raises:
        UserError: as :func:`merge`, or ``target`` exists.
    """
    terms = read_terms(formula, loras, presets)
    sidecar = checkpoint.with_suffix(".yaml")
    finish_sets([target.parent])
    with file_set([target, *([target.with_suffix(".yaml")] if sidecar.exists() else [])]) as parts:
        left_out = merge_into_checkpoint(checkpoint, terms, parts[0], formula=formula, progress=progress)
        for part in parts[1:]:
            shutil.copyfile(sidecar, part)
    return left_out


def new_checkpoint_path(name: str, folder: Path) -> Path:
    """Where a new checkpoint called ``name`` goes; errors as :func:`new_lora_path`, also for its yaml."""
    path = new_path(name, folder, SUFFIX, "checkpoint")
    if path.with_suffix(".yaml").exists():
        raise UserError(
            "There is a yaml of this name already", where=path.with_suffix(".yaml"), fix="Use another name."
        )
    return path


def read_terms(formula: str, loras: Folders, presets: Path | None = None) -> list[MergeTerm]:
    """The files of a formula with their weights. Errors as :func:`merge`."""
    terms = formulas.parse(formula)
    known = load_presets(presets)
    for term in terms:
        if term.blocks is not None:
            BlockWeights.parse(term.blocks, known)  # what is mistyped is told before any file is read
    paths = [find_lora(term.name, loras) for term in terms]
    files = [open_lora(path) for path in paths]  # one by one: threads would only take turns in reading heads
    weights = [
        None if term.blocks is None else BlockWeights.parse(term.blocks, known, file.family)
        for term, file in zip(terms, files, strict=True)
    ]
    return [(file, term.weight, by_block) for file, term, by_block in zip(files, terms, weights, strict=True)]


def needs_base(file: LoraFile) -> bool:
    """Whether any layer's change depends on the weight that it is added to."""
    return any(adapter_from(params).needs_base for params in outline(file.modules).values())


def energy_curve(merged: Merged) -> list[float]:
    """Share of Σσ² of all layers that is kept if each layer keeps its 1, 2, 3, … largest singular values.

    A reduced merge knows its singular values, of the sum before the reduction; of an exact one they are computed here.
    Layers without factors (full differences) count only in the former.
    """
    spectra = [torch.tensor(values) for values in merged.report.spectrum.values()]
    if not spectra:
        found = made_ahead(partial(_spectrum, merged), merged.modules)
        spectra = [values for values in found if values is not None]
    if not spectra:
        return []
    squares = torch.zeros(len(spectra), max(len(values) for values in spectra), dtype=torch.float64)
    for row, values in zip(squares, spectra, strict=True):
        row[: len(values)] = values.double().square()
    kept = squares.sum(dim=0).cumsum(dim=0)
    curve = (kept / kept[-1]).tolist() if kept[-1] > 0 else []
    return curve[: next((i + 1 for i, share in enumerate(curve) if share > 1 - 1e-9), len(curve))]


def _spectrum(merged: Merged, key: str) -> Tensor | None:
    adapter = adapter_from(merged.modules[key])
    delta = None if adapter.needs_base else adapter.delta()
    return delta.singular_values() if delta is not None and delta.rank else None


def report(merged: Merged) -> str:
    """What the user should know before saving, a line each."""
    found = merged.report
    lines = [f"{len(merged.modules)} layers, rank {merged.rank}"]
    if found.worst_layer is None:
        lines.append("exact: nothing is lost")
    else:
        lines.append(f"error {found.total_error:.2%}; worst layer {found.worst_layer} {found.worst_error:.2%}")
    return "\n".join(lines + found.warnings)
