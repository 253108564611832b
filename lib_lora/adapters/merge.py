"""Sums and differences of LoRA files, on ΔW and never on the factors one by one."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from lib_lora.adapters import blocks, metadata
from lib_lora.adapters.algorithms.full import Full
from lib_lora.adapters.algorithms.lora import LoRA
from lib_lora.adapters.algorithms.norm import Norm
from lib_lora.adapters.base import Adapter
from lib_lora.adapters.delta import Delta, tail_error
from lib_lora.adapters.file import LoraFile, model_hash, rounding_loss, to_delta, write_lora
from lib_lora.adapters.formula import Term, render
from lib_lora.adapters.selection import kernel_of
from lib_lora.adapters.workers import workers
from lib_lora.errors import UserError

MergeTerm = tuple[LoraFile, float, "Mapping[str, float] | None"]
ROUNDING_LIMIT = 1e-3
BIAS_WARNING = "Some layers change their bias too; A1111 ignores that beside a LoRA, ComfyUI and Forge do not"


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
        rank: of the widest layer that has one; 0 where all are full differences.
        extras: what the inputs carry besides layers, such as textual inversions.
        sources: the input files, which :meth:`save` never replaces.
    """

    modules: dict[str, dict[str, Tensor]]
    report: MergeReport
    rank: int
    metadata: dict[str, str]
    sources: tuple[Path, ...] = ()
    extras: dict[str, Tensor] = field(default_factory=dict)

    def file(self) -> LoraFile:
        """The merge as an unsaved file, to preview it or to merge it further."""
        return LoraFile(None, self.metadata, self.modules, self.extras)

    def rounding_warnings(self, dtype: torch.dtype) -> list[str]:
        """What storing in ``dtype`` would overflow, or change by more than 1e-3 of a layer; empty when all is well."""
        with workers() as pool:
            losses = pool.map(lambda layer: rounding_loss(dict([layer]), dtype), self.modules.items())
            loss = {key: e for layer in losses for key, e in layer.items() if e > ROUNDING_LIMIT}
        if not loss:
            return []
        name, worst = str(dtype).removeprefix("torch."), max(loss, key=loss.__getitem__)
        if math.isinf(loss[worst]):
            return [f"{worst} holds values that {name} cannot store; save as bfloat16 or float32"]
        others = f" and {len(loss) - 1} more" if len(loss) > 1 else ""
        return [f"Saving as {name} changes {worst} by {loss[worst]:.2%}{others}; save as float32"]

    def save(self, path: str | Path, dtype: torch.dtype = torch.float16, overwrite: bool = False) -> Path:
        """Write the file; adds to ``report.warnings`` what ``dtype`` loses.

        Raises:
            UserError: when the file exists and ``overwrite`` is False, or it is one of the sources (always).
        """
        path = Path(path)
        if path.resolve() in {source.resolve() for source in self.sources}:
            raise UserError("A merge cannot replace one of its inputs", where=path, fix="Choose another name.")
        kept = [warning for warning in self.report.warnings if warning == BIAS_WARNING]
        self.report.warnings = kept + self.rounding_warnings(dtype)
        return write_lora(path, self.modules, self.metadata, dtype, overwrite, extras=self.extras)


def combine(
    terms: Sequence[MergeTerm],
    *,
    rank: int | None = None,
    energy: float | None = None,
    base: Mapping[str, Tensor] | None = None,
    formula: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Merged:
    """Σ weight · block weight · ΔW over ``terms``, each (file, weight, block weights or None).

    Algorithms, ranks, alphas and sets of layers may differ. A layer is written as LoRA where its sum has factors
    smaller than the matrix, else as full difference. Layers that end up without any contribution are left out.

    Args:
        rank: reduce each layer to at most this rank, optimally; None keeps the exact sum (ranks add up).
        energy: or reduce each layer to the smallest rank that keeps this share of Σσ², e.g. 0.99; both may be given.
        base: the weights by layer key, for terms of DoRA, GLoRA, IA3, OFT and BOFT; see :mod:`base_weights`.
        formula: what the metadata record; built from the terms when None.
        progress: called with (layers done, layers) after each layer.

    Raises:
        UserError: when nothing is left, layers of two files differ in shape, block weights do not fit, or a term needs
            the base weights.
    """
    _check_limits(rank, energy)
    terms = [(file, weight, None if by_block is None else blocks.expand(by_block)) for file, weight, by_block in terms]
    keys = list(dict.fromkeys(key for file, _, _ in terms for key in file.modules))
    layers: dict[str, Adapter] = {}
    spectra: dict[str, Tensor] = {}

    def merge_layer(key: str) -> tuple[Adapter | None, Tensor | None]:
        delta, spectrum = _layer_sum(key, terms, base), None
        if delta is not None and len(delta.shape) > 1 and (rank is not None or energy is not None):
            delta, spectrum = delta.reduced(rank, energy)
        return None if delta is None else _layer(key, delta), spectrum

    with workers() as pool:
        hashes = pool.map(_hash, [file for file, _, _ in terms])
        for done, (key, (layer, spectrum)) in enumerate(zip(keys, pool.map(merge_layer, keys), strict=True), 1):
            if layer is not None:
                layers[key] = layer
            if spectrum is not None:
                spectra[key] = spectrum
            if progress is not None:
                progress(done, len(keys))
    if not layers:
        raise UserError("Nothing is left of this merge", where="formula", fix="Give at least one weight that is not 0.")
    widest = max(layer.rank if isinstance(layer, LoRA) else 0 for layer in layers.values())
    beside = any(isinstance(layer, LoRA) and layer.bias is not None for layer in layers.values())
    report = reduction_report(spectra, {key: layers[key].rank for key in spectra})
    report.warnings = [BIAS_WARNING] if beside else []
    return Merged(
        modules={key: layer.tensors() for key, layer in layers.items()},
        report=report,
        rank=widest,
        metadata=_metadata(terms, list(hashes), widest, formula),
        sources=tuple(file.path for file, _, _ in terms if file.path is not None),
        extras={name: tensor for file, _, _ in reversed(terms) for name, tensor in file.extras.items()},
    )


def _check_limits(rank: int | None, energy: float | None) -> None:
    if rank is not None and rank < 1:
        raise UserError("The rank must be at least 1", where="rank", fix="Give a rank such as 16, or none.")
    if energy is not None and not 0 < energy <= 1:
        raise UserError("The share to keep is between 0 and 1", where="energy", fix="Give a share such as 0.99.")


def _layer(key: str, delta: Delta) -> Adapter:
    """The smallest adapter that holds ``delta`` exactly."""
    if len(delta.shape) == 1:
        return Norm.from_delta(delta)
    kernel = kernel_of(key)
    if len(delta.shape) == 2 and kernel > 1:  # an algorithm that stores a convolution as a matrix
        shape = torch.Size((delta.shape[0], delta.shape[1] // kernel**2, kernel, kernel))
        delta = Delta(shape, delta.up, delta.down, delta.dense_part, delta.bias)
    return LoRA.from_delta(delta) if delta.rank else Full.from_delta(delta)


def _layer_sum(key: str, terms: Sequence[MergeTerm], base: Mapping[str, Tensor] | None) -> Delta | None:
    """ΔW of one layer; None where every weight is 0."""
    total = None
    for file, weight, by_block in terms:
        if key not in file.modules:
            continue
        weight *= blocks.weight_of(key, by_block)
        if weight == 0:
            continue
        part = layer_delta(file, key, base).scaled(weight)
        if total is not None and part.matrix_shape != total.matrix_shape:
            raise UserError(
                f"Layer {key} is {list(part.shape)} here and {list(total.shape)} in another LoRA of the merge",
                where=file.name,
                fix="Merge LoRAs that were trained for one family of checkpoints.",
            )
        total = part if total is None else total + part
    return total


def layer_delta(file: LoraFile, key: str, base: Mapping[str, Tensor] | None = None) -> Delta:
    """ΔW of one layer of a file.

    Raises:
        UserError: naming the file, where the algorithm needs the weight and ``base`` does not have it.
    """
    try:
        return to_delta(file.modules[key], None if base is None else base.get(key))
    except UserError as error:
        raise UserError(f"{error.what} (layer {key})", where=file.name, fix=error.fix) from error


def reduction_report(spectra: Mapping[str, Tensor], ranks: Mapping[str, int]) -> MergeReport:
    """What keeping ``ranks`` of the singular values ``spectra`` loses, layer by layer and in total."""
    if not spectra:
        return MergeReport()
    per_layer = {key: tail_error(values, ranks[key]) for key, values in spectra.items()}
    lost = sum(values[ranks[key] :].square().sum().item() for key, values in spectra.items())
    whole = sum(values.square().sum().item() for values in spectra.values())
    worst = max(per_layer, key=per_layer.__getitem__)
    return MergeReport(
        total_error=math.sqrt(lost / whole) if whole > 0 else 0.0,
        worst_layer=worst,
        worst_error=per_layer[worst],
        per_layer=per_layer,
        spectrum={key: values.tolist() for key, values in spectra.items()},
    )


def _metadata(
    terms: Sequence[MergeTerm], hashes: Sequence[str | None], rank: int, formula: str | None
) -> dict[str, str]:
    vectors = [None if by_block is None else blocks.format_weights(by_block) for _, _, by_block in terms]
    sources = [
        {"name": file.name, "hash": hash_now, "weight": weight, "blocks": vector}
        for (file, weight, _), hash_now, vector in zip(terms, hashes, vectors, strict=True)
    ]
    formula = formula or render(Term(s["name"], s["weight"], s["blocks"]) for s in sources)
    return metadata.merged(sources, terms[0][0].metadata, rank, formula)


def _hash(file: LoraFile) -> str | None:
    """The hash of the tensors as they are in the file now; what its metadata say may be out of date."""
    return None if file.path is None else model_hash(file.path)
