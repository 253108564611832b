"""Merge LoRAs into a checkpoint: tensor by tensor, so that memory does not grow with the file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from io import RawIOBase
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor

from lib_lora.adapters import container, serialise
from lib_lora.adapters.base_weights import CheckpointWeights, Place
from lib_lora.adapters.blocks import BlockWeights
from lib_lora.adapters.carried import carried
from lib_lora.adapters.delta import Delta
from lib_lora.adapters.finite import is_finite
from lib_lora.adapters.layers import outline
from lib_lora.adapters.merge import MergeTerm, WeighedTerm, layer_delta
from lib_lora.adapters.recognition import together
from lib_lora.errors import UserError
from lib_lora.files import atomic_write

COPY_BLOCK = 1 << 24
BIASES = {"diff_b", "b_norm"}
PRECISIONS = (torch.float64, torch.float32, torch.float16, torch.bfloat16)


def merge_into_checkpoint(
    checkpoint: str | Path,
    terms: Sequence[MergeTerm],
    target: str | Path,
    *,
    formula: str = "",
    progress: Callable[[int, int], None] | None = None,
) -> list[str]:
    """Write ``target``: the checkpoint with Σ weight · block weight · ΔW added, each sum in float32, rounded once.

    Every tensor keeps its place, shape and precision; the metadata keep what they said and add the formula.

    Args:
        terms: (LoRA file, weight, block weights or None).
        formula: for the metadata.
        progress: called with (tensors done, tensors).

    Returns:
        The keys of LoRA layers that the checkpoint does not have, which are left out.

    Raises:
        UserError: ``target`` exists, a file is damaged, nothing fits, or a sum overflows the checkpoint's precision.
    """
    checkpoint, target = Path(checkpoint), Path(target)
    if target.exists():
        raise UserError("The file exists already", where=target, fix="Choose another name.")
    weights = CheckpointWeights(checkpoint)
    of = [(f"{file.name} is for", file.families or ()) for file, _, _ in terms]
    common = together([*of, (f"{checkpoint.name} is", weights.families)], "Choose a checkpoint of the LoRA's family")
    terms = [(carried(file, common[0]), weight, by_block) for file, weight, by_block in terms]
    weighed = [(file, weight, None if by is None else BlockWeights.read(by, file.family)) for file, weight, by in terms]
    keys = list(dict.fromkeys(key for file, _, _ in terms for key in file.modules))
    changes = _by_tensor(weights, [key for key in keys if key in weights], weighed)
    if not changes:
        raise UserError(
            "None of the LoRA's layers exist in this checkpoint", where=checkpoint, fix="Choose one of its family."
        )
    source = weights.container
    with atomic_write(target) as part, source.opened() as data, open(part, "wb") as out:
        out.write(serialise.head(source.entries, {**source.metadata, "merge_formula": formula}))
        for done, (name, entry) in enumerate(source.entries.items(), start=1):
            if name in changes:
                tensor = source.read([name])[name]
                _add(tensor, name, changes[name], weighed, weights)
                out.write(container.bytes_of(tensor))
            else:
                data.seek(source.start + entry.begin)
                _copy(data, out, entry.end - entry.begin)
            if progress is not None:
                progress(done, len(source.entries))
    return [key for key in keys if key not in weights]


def _by_tensor(
    weights: CheckpointWeights, keys: Sequence[str], terms: Sequence[WeighedTerm]
) -> dict[str, list[tuple[str, Place]]]:
    """Tensor name -> the layers (key, place) that change it; weights and biases."""
    changes: dict[str, list[tuple[str, Place]]] = {}
    for key in keys:
        biased = any(BIASES & outline(file.modules).get(key, {}).keys() for file, _, _ in terms)
        for place in weights.places[key]:
            changes.setdefault(place.name, []).append((key, place))
            if biased:
                changes.setdefault(place.bias, []).append((key, place))
    return changes


def _add(
    tensor: Tensor,
    name: str,
    layers: Sequence[tuple[str, Place]],
    terms: Sequence[WeighedTerm],
    weights: CheckpointWeights,
) -> None:
    """Add what the terms change in one tensor to it, in place."""
    stored_as = weights.container.entries[name].type
    if tensor.dtype not in PRECISIONS:
        raise UserError(
            f"{name} is stored as {stored_as}, which cannot be merged into",
            where=weights.path,
            fix="Use a checkpoint in fp16, bf16 or fp32.",
        )
    for key, place in layers:
        change = _change(key, terms, weights, bias=name != place.name)
        if change is not None:
            part = place.part(tensor)
            part.copy_(part.float() + place.of(change).reshape(part.shape))
    if not is_finite(tensor):
        raise UserError(
            f"{name} would overflow {stored_as}",
            where=weights.path,
            fix="Use smaller weights, or an fp32 checkpoint.",
        )


def _change(key: str, terms: Sequence[WeighedTerm], weights: CheckpointWeights, bias: bool) -> Tensor | None:
    total: Delta | None = None
    for file, weight, by_block in terms:
        weight *= 1.0 if by_block is None else by_block.of(key)
        if weight == 0 or key not in file.modules:
            continue
        delta = layer_delta(file, key, weights).scaled(weight)
        total = delta if total is None else total + delta
    if total is None:
        return None
    return total.bias if bias else total.matrix()


def _copy(source: RawIOBase, out: BinaryIO, size: int) -> None:
    while size > 0:
        block = source.read(min(size, COPY_BLOCK))
        if not block:
            raise UserError("The checkpoint is cut off", fix=container.FIX)
        out.write(block)
        size -= len(block)
