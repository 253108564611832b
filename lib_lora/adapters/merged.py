"""A merge or an extraction that is not saved yet, and what it lost."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from lib_lora.adapters.delta import tail_error
from lib_lora.adapters.file import LoraFile, write_lora
from lib_lora.adapters.layers import Layers, Params, outline
from lib_lora.adapters.rounding import rounding_loss
from lib_lora.adapters.workers import made_ahead
from lib_lora.errors import UserError

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
        remarks: those of them that do not depend on how it is saved.
    """

    total_error: float = 0.0
    worst_layer: str | None = None
    worst_error: float = 0.0
    per_layer: dict[str, float] = field(default_factory=dict)
    spectrum: dict[str, list[float]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


@dataclass
class Merged:
    """A merge that is not saved yet.

    Attributes:
        modules: layer key -> parameter name -> tensor. An exact merge of files makes them when they are asked for, from
            the files as they are then; :func:`~lib_lora.adapters.layers.outline` tells their shapes at no cost.
        rank: of the widest layer that has one; 0 where all are full differences.
        extras: what the inputs carry besides layers, such as textual inversions.
        truncated: whether each layer of the report's spectrum is the truncated SVD itself, not what was made of it.
        sources: the input files, which :meth:`save` never replaces.
        spelled: the layers under the names that are written; None for ours, which are kohya's.
    """

    modules: Mapping[str, Params]
    report: MergeReport
    rank: int
    metadata: dict[str, str]
    sources: tuple[Path, ...] = ()
    extras: dict[str, Tensor] = field(default_factory=dict)
    spelled: Callable[[Mapping[str, Params]], Mapping[str, Params]] | None = None
    truncated: bool = False

    def file(self) -> LoraFile:
        """The merge as an unsaved file, to preview it or to merge it further."""
        return LoraFile(None, self.metadata, self.modules, self.extras)

    def rounding_warnings(self, dtype: torch.dtype) -> list[str]:
        """What storing in ``dtype`` would overflow, or change by more than 1e-3 of a layer; empty when all is well."""
        losses = made_ahead(lambda key: self._rounding_loss(key, self.modules[key], dtype), self.modules)
        return _rounding_warnings(dict(zip(self.modules, losses, strict=True)), dtype)

    def save(self, path: str | Path, dtype: torch.dtype = torch.float16, overwrite: bool = False) -> Path:
        """Write the file; adds to ``report.warnings`` what ``dtype`` loses.

        Raises:
            UserError: when the file exists and ``overwrite`` is False, or it is one of the sources (always).
        """
        path = Path(path)
        if path.resolve() in {source.resolve() for source in self.sources}:
            raise UserError("A merge cannot replace one of its inputs", where=path, fix="Choose another name.")
        losses: dict[str, float] = {}

        def examined(key: str) -> Params:
            params = self.modules[key]
            losses[key] = self._rounding_loss(key, params, dtype)
            return params

        modules: Mapping[str, Params] = Layers(outline(self.modules), examined)  # so each is made only once
        if self.spelled is not None:
            modules = self.spelled(modules)
        write_lora(path, modules, self.metadata, dtype, overwrite, extras=self.extras)
        self.report.warnings = self.report.remarks + _rounding_warnings(losses, dtype)
        return path

    def _rounding_loss(self, key: str, params: Params, dtype: torch.dtype) -> float:
        values = self.report.spectrum.get(key) if self.truncated else None
        return rounding_loss(params, dtype, None if values is None else torch.tensor(values, dtype=torch.float64))


def _rounding_warnings(losses: Mapping[str, float], dtype: torch.dtype) -> list[str]:
    """What to say of the layers' losses by storing them in ``dtype``."""
    loss = {key: lost for key, lost in losses.items() if lost > ROUNDING_LIMIT}
    if not loss:
        return []
    name, worst = str(dtype).removeprefix("torch."), max(loss, key=loss.__getitem__)
    if math.isinf(loss[worst]):
        return [f"{worst} holds values that {name} cannot store; save as bfloat16 or float32"]
    others = f" and {len(loss) - 1} more" if len(loss) > 1 else ""
    return [f"Saving as {name} changes {worst} by {loss[worst]:.2%}{others}; save as float32"]


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
