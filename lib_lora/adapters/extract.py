"""A LoRA from the difference of two checkpoints: what fine-tuning changed, reduced optimally, layer by layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from lib_lora.adapters import metadata
from lib_lora.adapters.algorithms.lora import LoRA
from lib_lora.adapters.base_weights import CheckpointWeights
from lib_lora.adapters.delta import Delta
from lib_lora.adapters.merged import Merged, reduction_report
from lib_lora.adapters.selection import NetworkSpec, selects
from lib_lora.errors import UserError


@dataclass(frozen=True)
class Extraction:
    """What to keep of a difference.

    Attributes:
        rank: the largest rank of a layer.
        conv_rank: of the 3×3 convolutions; 0 leaves them and the residual blocks out.
        energy: a smaller rank where this share of Σσ² is kept by it; None always takes ``rank``.
        text_encoder: whether the text encoders are included.
    """

    rank: int = 32
    conv_rank: int = 0
    energy: float | None = None
    text_encoder: bool = True


def extract(
    tuned: str | Path,
    original: str | Path,
    options: Extraction | None = None,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Merged:
    """The LoRA (LoCon, with a ``conv_rank``) that turns ``original`` into ``tuned`` as nearly as its rank allows.

    Layers that are equal in both are left out. Both files are read one tensor at a time.

    Raises:
        UserError: a file that is no checkpoint, two of different families, or two that are equal.
    """
    options = options or Extraction()
    a, b = CheckpointWeights(tuned), CheckpointWeights(original)
    spec = NetworkSpec(rank=options.rank, conv_rank=options.conv_rank, train_text_encoder=options.text_encoder)
    keys = [key for key in a if key in b and selects(spec, key, a.family)]
    modules: dict[str, dict[str, Tensor]] = {}
    spectra: dict[str, Tensor] = {}
    ranks: dict[str, int] = {}
    for done, key in enumerate(keys, start=1):
        delta = _difference(key, a, b)
        if delta is not None:
            rank = options.conv_rank if delta.shape[2:].numel() > 1 else options.rank
            reduced, spectra[key] = delta.reduced(min(rank, *delta.matrix_shape), options.energy)
            lora = LoRA.from_delta(reduced)
            ranks[key], modules[key] = lora.rank, lora.tensors()
        if progress is not None:
            progress(done, len(keys))
    if not modules:
        raise UserError("The two checkpoints do not differ in these layers", where=tuned, fix="Choose two others.")
    widest = max(ranks.values())
    entries = _metadata(a, b, widest)
    return Merged(modules, reduction_report(spectra, ranks), widest, entries, sources=(a.path, b.path))


def _difference(key: str, a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> Delta | None:
    """a − b of one layer in float32; None where it has no matrix or no difference."""
    first, second = a[key], b[key]
    if first.shape != second.shape:
        raise UserError(
            f"Layer {key} is {list(first.shape)} in one checkpoint and {list(second.shape)} in the other",
            fix="Choose two checkpoints of one family.",
        )
    if first.ndim < 2 or _same_bits(first, second):
        return None
    difference = first.float() - second.float()
    return Delta(first.shape, dense_part=difference.flatten(1)) if difference.any() else None


def _same_bits(a: Tensor, b: Tensor) -> bool:
    """Whether there is nothing to subtract, told without a copy of either in float32."""
    return a.dtype == b.dtype and torch.equal(a.view(torch.uint8), b.view(torch.uint8))


def _metadata(a: CheckpointWeights, b: CheckpointWeights, rank: int) -> dict[str, str]:
    formula = f"{a.path.stem} - {b.path.stem}"
    sources = [{"name": path.stem, "weight": weight} for path, weight in ((a.path, 1.0), (b.path, -1.0))]
    return metadata.merged(sources, metadata.base_model_of(a.family), rank, formula)
