"""From a formula to a merged LoRA, with the names looked up in the host's folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from torch import Tensor

from ..adapters import formula as formulas
from ..adapters.blocks import load_presets, parse_weights
from ..adapters.file import read_lora
from ..adapters.merge import Merged, combine
from .lora_files import find_lora


def merge(
    formula: str,
    loras: Path,
    *,
    presets: Path | None = None,
    rank: int | None = None,
    energy: float | None = None,
    base: Mapping[str, Tensor] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Merged:
    """The merge that ``formula`` says, not saved yet; ``.report`` has what a reduced rank loses.

    Args:
        formula: ``NAME:weight:BLOCKS,…``, see :mod:`lib_lora.adapters.formula`.
        loras: folder that the names are looked up in.
        presets: file with the user's own block presets, over the built-in ones; it need not exist.
        rank: reduce each layer to at most this; None keeps the exact sum.
        energy: or to the smallest rank that keeps this share of its energy, such as 0.99.
        base: the weights that DoRA, GLoRA, IA3, OFT and BOFT act on: ``CheckpointWeights(path)`` or, for the loaded
            model, ``LayerWeights(model.layers())``.
        progress: called with (layers done, layers); what it raises ends the merge.

    Raises:
        UserError: a formula, name, preset or file that cannot be used.
    """
    terms = formulas.parse(formula)
    known = load_presets(presets)
    for term in terms:
        if term.blocks is not None:
            parse_weights(term.blocks, known)  # what is mistyped is told before any file is read
    files = [read_lora(find_lora(term.name, loras)) for term in terms]
    weights = [
        None if term.blocks is None else parse_weights(term.blocks, known, file.family)
        for term, file in zip(terms, files, strict=True)
    ]
    parts = [(file, term.weight, by_block) for file, term, by_block in zip(files, terms, weights, strict=True)]
    return combine(parts, rank=rank, energy=energy, base=base, formula=formula, progress=progress)


def report(merged: Merged) -> str:
    """What the user should know before saving, a line each."""
    found = merged.report
    lines = [f"{len(merged.modules)} layers, rank {merged.rank}"]
    if found.worst_layer is None:
        lines.append("exact: nothing is lost")
    else:
        lines.append(f"error {found.total_error:.2%}; worst layer {found.worst_layer} {found.worst_error:.2%}")
    return "\n".join(lines + found.warnings)
