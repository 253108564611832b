"""Sums and differences of LoRA files, on ΔW and never on the factors one by one."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import Any

import torch
from torch import Tensor

from lib_lora.adapters import metadata
from lib_lora.adapters.algorithms.full import Full
from lib_lora.adapters.algorithms.lora import ALPHA, BIAS, DOWN, UP, LoRA
from lib_lora.adapters.algorithms.norm import Norm
from lib_lora.adapters.base import Adapter
from lib_lora.adapters.base_weights import CheckpointWeights, LayerWeights, shapes_of
from lib_lora.adapters.blocks import BlockWeights
from lib_lora.adapters.build import adapter_from
from lib_lora.adapters.carried import carried
from lib_lora.adapters.delta import Delta
from lib_lora.adapters.factors import is_low
from lib_lora.adapters.file import LoraFile
from lib_lora.adapters.formula import Term, render
from lib_lora.adapters.hashing import hashed_meanwhile
from lib_lora.adapters.layers import NUMBERS, Layers, Params, outline
from lib_lora.adapters.merged import BIAS_WARNING, Merged, reduction_report
from lib_lora.adapters.recognition import together
from lib_lora.adapters.selection import kernel_of
from lib_lora.adapters.workers import made_ahead
from lib_lora.errors import UserError
from lib_lora.models.family import Family

MergeTerm = tuple[LoraFile, float, "Mapping[str, float] | None"]
WeighedTerm = tuple[LoraFile, float, "BlockWeights | None"]
NOISE = 1e-6  # of the parts' sizes: what is left of dense sums that cancel is rounding


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
    common = together(
        [(f"{file.name} is for", file.families or ()) for file, _, _ in terms], "Merge LoRAs of one family"
    )
    if common:
        terms = [(carried(file, common[0]), weight, by_block) for file, weight, by_block in terms]
    work = _Sum(
        [(file, weight, None if by is None else BlockWeights.read(by, file.family)) for file, weight, by in terms],
        base,
        rank,
        energy,
    )
    exact = rank is None and energy is None
    stays = base is None or isinstance(base, CheckpointWeights)  # a loaded model is borrowed for this call only
    with hashed_meanwhile([file for file, _, _ in terms]) as hashes:
        modules, spectra = work.on_demand(progress) if exact and stays else work.at_once(progress)
        found = hashes()
    if not modules:
        raise UserError("Nothing is left of this merge", where="formula", fix="Give at least one weight that is not 0.")
    shapes = outline(modules)
    ranks = {key: params[DOWN].shape[0] for key, params in shapes.items() if DOWN in params}
    report = reduction_report(spectra, {key: ranks.get(key, 0) for key in spectra})
    report.remarks = [remark for file, _, _ in terms for remark in (*file.remarks, *_acts_on(file, base))]
    if any(DOWN in params and BIAS in params for params in shapes.values()):
        report.remarks.append(BIAS_WARNING)
    report.warnings = list(report.remarks)
    widest = max(ranks.values(), default=0)
    return Merged(
        modules=modules,
        report=report,
        truncated=True,
        rank=widest,
        metadata={**_untold(common), **_metadata(work.terms, found, widest, formula)},
        sources=tuple(file.path for file, _, _ in terms if file.path is not None),
        extras={name: tensor for file, _, _ in reversed(terms) for name, tensor in file.extras.items()},
    )


def _acts_on(file: LoraFile, base: Mapping[str, Tensor] | None) -> list[str]:
    """Whose weights the file's change was calculated from, where it depends on them."""
    if not isinstance(base, (CheckpointWeights, LayerWeights)):
        return []
    if not any(adapter_from(params).needs_base for params in outline(file.modules).values()):
        return []
    trained_on = file.metadata.get("ss_sd_model_name", "")
    differs = trained_on and PurePath(trained_on).stem != PurePath(base.name).stem
    note = f", and was trained on {trained_on}" if differs else ""
    return [f"{file.name} depends on its checkpoint; it is calculated on {base.name}{note}"]


def _check_limits(rank: int | None, energy: float | None) -> None:
    if rank is not None and rank < 1:
        raise UserError("The rank must be at least 1", where="rank", fix="Give a rank such as 16, or none.")
    if energy is not None and not 0 < energy <= 1:
        raise UserError("The share to keep is between 0 and 1", where="energy", fix="Give a share such as 0.99.")


@dataclass(frozen=True)
class _Sum:
    """A merge, layer by layer."""

    terms: Sequence[WeighedTerm]
    base: Mapping[str, Tensor] | None
    rank: int | None
    energy: float | None

    @property
    def keys(self) -> list[str]:
        return list(dict.fromkeys(key for file, _, _ in self.terms for key in file.modules))

    def at_once(self, progress: Callable[[int, int], None] | None) -> tuple[dict[str, Params], dict[str, Tensor]]:
        """All layers, and the singular values of those that were reduced."""
        keys, modules, spectra = self.keys, {}, {}
        for done, (key, (params, spectrum)) in enumerate(zip(keys, made_ahead(self.layer, keys), strict=True), 1):
            if params is not None:
                modules[key] = params
            if spectrum is not None:
                spectra[key] = spectrum
            if progress is not None:
                progress(done, len(keys))
        return modules, spectra

    def on_demand(self, progress: Callable[[int, int], None] | None) -> tuple[Layers, dict[str, Tensor]]:
        """Layers that are calculated when they are asked for; their shapes are those of a merge of the shapes."""
        without_memory = [(replace(file, modules=_shapes(file)), weight, by) for file, weight, by in self.terms]
        shapes = replace(self, terms=without_memory, base=shapes_of(self.base))
        keys, found = self.keys, {}
        for done, key in enumerate(keys, 1):
            params = shapes.form(key)
            if params is not None:
                found[key] = params
            if progress is not None:
                progress(done, len(keys))
        return Layers(found, self._existing), {}

    def form(self, key: str) -> Params | None:
        """The types and shapes of :meth:`layer`, where nothing is reduced.

        Of LoRAs it follows from their ranks; of other kinds from the same calculation without numbers, which costs
        seconds at first, because torch brings in its compiler for that.
        """
        files = [file for file, weight, by in self.terms if key in file.modules and _weight(key, weight, by) != 0]
        adapters = [adapter_from(file.modules[key]) for file in files]
        loras = [adapter for adapter in adapters if type(adapter) is LoRA]
        if len(loras) < len(adapters) or len({_matrix(lora.weight_shape) for lora in loras}) > 1:
            return self.layer(key)[0]
        if not loras:
            return None
        shape = _whole(key, loras[0].weight_shape)
        rank, wide = sum(lora.rank for lora in loras), any(lora.dtype == torch.float64 for lora in loras)
        kind: dict[str, Any] = {"dtype": torch.float64 if wide else torch.float32, "device": "meta"}
        bias = {BIAS: torch.empty(shape[0], **kind)} if any(lora.bias is not None for lora in loras) else {}
        if len(loras) > 1 and not is_low(rank, *_matrix(shape)):
            return {Full.param_names[0]: torch.empty(shape, **kind), **bias}
        up = torch.empty(shape[0], rank, *[1] * (len(shape) - 2), **kind)
        return {UP: up, DOWN: torch.empty(rank, *shape[1:], **kind), **bias, ALPHA: torch.tensor(float(rank))}

    def _existing(self, key: str) -> Params:
        params, _ = self.layer(key)
        if params is None:
            raise KeyError(key)
        return params

    def layer(self, key: str) -> tuple[Params | None, Tensor | None]:
        """The merged layer, None where every weight is 0; and all singular values, None where nothing was reduced."""
        parts, weights = self._parts(key)
        if not parts:
            return None, None
        delta = Delta.sum(parts, weights)
        if len(delta.shape) == 1 or (self.rank is None and self.energy is None):
            alone = len(parts) == 1
            return _adapter(key, delta, alone).tensors(), None
        dense = math.hypot(*(w * _size(part.dense_part) for part, w in zip(parts, weights, strict=True)), 0.0)
        delta, spectrum = delta.reduced(self.rank, self.energy, noise=NOISE * dense)
        if delta.rank:  # new factors of equal norms, which nobody else has
            return LoRA.tensors_of(_with_kernel(key, delta), even=True), spectrum
        return _adapter(key, delta, alone=True).tensors(), spectrum

    def _parts(self, key: str) -> tuple[list[Delta], list[float]]:
        """ΔW of the terms that have this layer, LoRAs as they are stored, and what each is to be multiplied by."""
        parts: list[Delta] = []
        weights: list[float] = []
        for file, weight, by_block in self.terms:
            weight = _weight(key, weight, by_block)
            if weight == 0 or key not in file.modules:
                continue
            part, scale = _unscaled(file, key, self.base)
            if parts and part.matrix_shape != parts[0].matrix_shape:
                raise UserError(
                    f"Layer {key} is {list(part.shape)} here and {list(parts[0].shape)} in another LoRA of the merge",
                    where=file.name,
                    fix="Merge LoRAs that were trained for one family of checkpoints.",
                )
            parts.append(part)
            weights.append(weight * scale)
        return parts, weights


def _shapes(file: LoraFile) -> dict[str, dict[str, Tensor]]:
    """A file's layers without their numbers, but for those that everything else's shape does not tell."""
    return {
        key: {name: t if name in NUMBERS else t.to("meta") for name, t in params.items()}
        for key, params in outline(file.modules).items()
    }


def _weight(key: str, weight: float, by_block: BlockWeights | None) -> float:
    return weight if by_block is None else weight * by_block.of(key)


def _size(tensor: Tensor | None) -> float:
    return 0.0 if tensor is None else tensor.norm().item()


def _matrix(shape: torch.Size) -> tuple[int, int]:
    return shape[0], shape[1:].numel()


def _whole(key: str, shape: torch.Size) -> torch.Size:
    """``shape`` of a layer's weight, with the kernel where an algorithm stores a convolution as a matrix."""
    kernel = kernel_of(key)
    if len(shape) != 2 or kernel == 1 or shape[1] % kernel**2:  # a name may be of a convolution that the layer is not
        return shape
    return torch.Size((shape[0], shape[1] // kernel**2, kernel, kernel))


def _adapter(key: str, delta: Delta, alone: bool) -> Adapter:
    """The smallest adapter that holds ``delta`` exactly; factors stay factors where they are ``alone``."""
    if len(delta.shape) == 1:
        return Norm.from_delta(delta)
    delta = _with_kernel(key, delta)
    if delta.rank and (alone or is_low(delta.rank, *delta.matrix_shape)):
        return LoRA.from_delta(delta)
    return Full.from_delta(delta)


def _with_kernel(key: str, delta: Delta) -> Delta:
    return replace(delta, shape=_whole(key, delta.shape))


def layer_delta(file: LoraFile, key: str, base: Mapping[str, Tensor] | None = None) -> Delta:
    """ΔW of one layer of a file.

    Raises:
        UserError: naming the file, where the algorithm needs the weight and ``base`` does not have it.
    """
    return _delta(file, key, file.modules[key], base)


def _unscaled(file: LoraFile, key: str, base: Mapping[str, Tensor] | None) -> tuple[Delta, float]:
    """As :func:`layer_delta`, and a factor that is still to be applied; a LoRA's ΔW may be in half precision."""
    params = file.modules[key]
    return LoRA.as_stored(params) or (_delta(file, key, params, base), 1.0)


def _delta(file: LoraFile, key: str, params: Params, base: Mapping[str, Tensor] | None) -> Delta:
    try:
        adapter = adapter_from(params)
        weight = base.get(key) if base is not None and adapter.needs_base else None
        if weight is not None:
            adapter.fit(weight.shape)
        return adapter.delta(weight)
    except UserError as error:
        raise UserError(f"{error.what} (layer {key})", where=error.where or file.name, fix=error.fix) from error


def _untold(common: Sequence[Family]) -> dict[str, str]:
    """What the names of a flow model's layers leave open, where the inputs do not say it."""
    return metadata.base_model_of(common[0]) if common and common[0].predictions == ("flow",) else {}


def _metadata(
    terms: Sequence[WeighedTerm], hashes: Sequence[str | None], rank: int, formula: str | None
) -> dict[str, str]:
    parts = [
        Term(file.name, weight, None if by_block is None else by_block.format()) for file, weight, by_block in terms
    ]
    sources = [
        {"name": part.name, "hash": found, "weight": part.weight, "blocks": part.blocks}
        for part, found in zip(parts, hashes, strict=True)
    ]
    return metadata.merged(sources, terms[0][0].metadata, rank, formula or render(parts))
