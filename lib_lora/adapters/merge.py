"""Sums and differences of LoRA files, on ΔW and never on the factors one by one."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from lib_lora.adapters import blocks, metadata
from lib_lora.adapters.algorithms.lora import LoRA
from lib_lora.adapters.delta import Delta, tail_error
from lib_lora.adapters.file import LoraFile, model_hash, rounding_loss, to_delta, write_lora
from lib_lora.adapters.formula import Term, render
from lib_lora.errors import UserError

MergeTerm = tuple[LoraFile, float, "Mapping[str, float] | None"]
ROUNDING_LIMIT = 1e-3


@dataclass
class MergeReport:
    """What a reduction to a given rank lost; all zero when no rank was given.

    Attributes:
        total_error: relative Frobenius error of all layers together.
        worst_layer, worst_error: the layer with the largest relative error of its own.
        per_layer: layer key -> relative error.
        spectrum: layer key -> singular values of its exact ΔW, descending; only layers that were reduced.
        warnings: for the user; filled on saving when half precision costs more than 1e-3 of a layer.
    """

    total_error: float = 0.0
    worst_layer: str | None = None
    worst_error: float = 0.0
    per_layer: dict[str, float] = field(default_factory=dict)
    spectrum: dict[str, list[float]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


@dataclass
class Merged:
    """A merge that is not saved yet.

    Attributes:
        modules: layer key -> parameter name -> tensor.
        rank: of the widest layer.
        sources: the input files, which :meth:`save` never replaces.
    """

    modules: dict[str, dict[str, Tensor]]
    report: MergeReport
    rank: int
    metadata: dict[str, str]
    sources: tuple[Path, ...] = ()

    def file(self) -> LoraFile:
        """The merge as an unsaved file, to preview it or to merge it further."""
        return LoraFile(None, self.metadata, self.modules)

    def save(self, path: str | Path, dtype: torch.dtype = torch.float16, overwrite: bool = False) -> Path:
        """Write the file; adds to ``report.warnings`` what ``dtype`` loses.

        Raises:
            UserError: when the file exists and ``overwrite`` is False, or it is one of the sources (always).
        """
        path = Path(path)
        if path.resolve() in {source.resolve() for source in self.sources}:
            raise UserError("A merge cannot replace one of its inputs", where=path, fix="Choose another name.")
        loss = rounding_loss(self.modules, dtype)
        self.report.warnings = [
            f"{key}: saving as {str(dtype).removeprefix('torch.')} changes this layer by {error:.2%}; save as float32"
            for key, error in loss.items()
            if error > ROUNDING_LIMIT
        ]
        return write_lora(path, self.modules, self.metadata, dtype, overwrite)


def combine(
    terms: Sequence[MergeTerm],
    *,
    rank: int | None = None,
    formula: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Merged:
    """Σ weight · block weight · ΔW over ``terms``, each (file, weight, block weights or None).

    Ranks, alphas and sets of layers may differ. Layers that end up without any contribution are left out.

    Args:
        rank: reduce each layer to at most this rank, optimally; None keeps the exact sum (ranks add up).
        formula: what the metadata record; built from the terms when None.
        progress: called with (layers done, layers) after each layer.

    Raises:
        UserError: when nothing is left, layers of two files differ in shape, or block weights do not fit.
    """
    if rank is not None and rank < 1:
        raise UserError("The rank must be at least 1", where="rank", fix="Give a rank such as 16, or none.")
    terms = [(file, weight, None if by_block is None else blocks.expand(by_block)) for file, weight, by_block in terms]
    keys = list(dict.fromkeys(key for file, _, _ in terms for key in file.modules))
    layers: dict[str, LoRA] = {}
    spectra: dict[str, Tensor] = {}
    for done, key in enumerate(keys, start=1):
        delta = _layer_sum(key, terms)
        if delta is not None and rank is not None:
            delta, spectra[key] = delta.with_spectrum(rank)
        if delta is not None:
            layers[key] = LoRA.from_delta(delta)
        if progress is not None:
            progress(done, len(keys))
    if not layers:
        raise UserError("Nothing is left of this merge", where="formula", fix="Give at least one weight that is not 0.")
    widest = max(layer.rank for layer in layers.values())
    return Merged(
        modules={key: layer.tensors() for key, layer in layers.items()},
        report=MergeReport() if rank is None else _report(spectra, rank),
        rank=widest,
        metadata=_metadata(terms, widest, formula),
        sources=tuple(file.path for file, _, _ in terms if file.path is not None),
    )


def _layer_sum(key: str, terms: Sequence[MergeTerm]) -> Delta | None:
    """ΔW of one layer; None where every weight is 0."""
    total = None
    for file, weight, by_block in terms:
        if key not in file.modules:
            continue
        weight *= blocks.weight_of(key, by_block)
        if weight == 0:
            continue
        part = to_delta(file.modules[key]).scaled(weight)
        if total is not None and part.matrix_shape != total.matrix_shape:
            raise UserError(
                f"Layer {key} is {list(part.shape)} here and {list(total.shape)} in another LoRA of the merge",
                where=file.name,
                fix="Merge LoRAs that were trained for one family of checkpoints.",
            )
        total = part if total is None else total + part
    return total


def _report(spectra: Mapping[str, Tensor], rank: int) -> MergeReport:
    per_layer = {key: tail_error(values, rank) for key, values in spectra.items()}
    lost = sum(values[rank:].square().sum().item() for values in spectra.values())
    whole = sum(values.square().sum().item() for values in spectra.values())
    worst = max(per_layer, key=per_layer.__getitem__)
    return MergeReport(
        total_error=math.sqrt(lost / whole) if whole > 0 else 0.0,
        worst_layer=worst,
        worst_error=per_layer[worst],
        per_layer=per_layer,
        spectrum={key: values.tolist() for key, values in spectra.items()},
    )


def _metadata(terms: Sequence[MergeTerm], rank: int, formula: str | None) -> dict[str, str]:
    vectors = [None if by_block is None else blocks.format_weights(by_block) for _, _, by_block in terms]
    sources = [
        {"name": file.name, "hash": _hash(file), "weight": weight, "blocks": vector}
        for (file, weight, _), vector in zip(terms, vectors, strict=True)
    ]
    formula = formula or render(Term(s["name"], s["weight"], s["blocks"]) for s in sources)
    return metadata.merged(sources, terms[0][0].metadata, rank, formula)


def _hash(file: LoraFile) -> str | None:
    """The hash of the tensors as they are in the file now; what its metadata say may be out of date."""
    return None if file.path is None else model_hash(file.path)
