"""Merge LoRAs into a checkpoint: tensor by tensor, so that memory does not grow with the file."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor

from lib_lora.adapters import blocks, container
from lib_lora.adapters.base_weights import CheckpointWeights, Place
from lib_lora.adapters.delta import Delta
from lib_lora.adapters.finite import is_finite
from lib_lora.adapters.merge import MergeTerm, layer_delta
from lib_lora.errors import UserError
from lib_lora.files import atomic_write

COPY_BLOCK = 1 << 24
BIASES = {"diff_b", "b_norm"}
DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


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
    terms = [(file, weight, None if by is None else blocks.expand(by)) for file, weight, by in terms]
    weights = CheckpointWeights(checkpoint)
    keys = list(dict.fromkeys(key for file, _, _ in terms for key in file.modules))
    changes = _by_tensor(weights, [key for key in keys if key in weights], terms)
    if not changes:
        raise UserError(
            "None of the LoRA's layers exist in this checkpoint", where=checkpoint, fix="Choose one of its family."
        )
    header, start = container.read_header(checkpoint)
    entries = sorted(
        ((n, e) for n, e in header.items() if n != "__metadata__"), key=lambda item: item[1]["data_offsets"]
    )
    with atomic_write(target) as part, open(checkpoint, "rb") as source, open(part, "wb") as out:
        out.write(_new_header(header, formula))
        for done, (name, entry) in enumerate(entries, start=1):
            begin, end = entry["data_offsets"]
            source.seek(start + begin)
            if name in changes:
                data = bytearray(source.read(end - begin))
                _add(data, name, entry, changes[name], terms, weights)
                out.write(data)
            else:
                _copy(source, out, end - begin)
            if progress is not None:
                progress(done, len(entries))
    return [key for key in keys if key not in weights]


def _by_tensor(
    weights: CheckpointWeights, keys: Sequence[str], terms: Sequence[MergeTerm]
) -> dict[str, list[tuple[str, Place]]]:
    """Tensor name -> the layers (key, place) that change it; weights and biases."""
    changes: dict[str, list[tuple[str, Place]]] = {}
    for key in keys:
        place = weights.places[key]
        changes.setdefault(place.name, []).append((key, place))
        if any(BIASES & file.modules.get(key, {}).keys() for file, _, _ in terms):
            changes.setdefault(place.bias, []).append((key, place))
    return changes


def _add(
    data: bytearray,
    name: str,
    entry: Mapping[str, object],
    layers: Sequence[tuple[str, Place]],
    terms: Sequence[MergeTerm],
    weights: CheckpointWeights,
) -> None:
    """Add what the terms change in one tensor to its bytes, in place."""
    if entry["dtype"] not in DTYPES:
        raise UserError(
            f"{name} is stored as {entry['dtype']}, which cannot be merged into",
            where=weights.path,
            fix="Use a checkpoint in fp16, bf16 or fp32.",
        )
    tensor = torch.frombuffer(data, dtype=DTYPES[entry["dtype"]]).reshape(entry["shape"])
    for key, place in layers:
        change = _change(key, terms, weights, bias=name != place.name)
        if change is not None:
            part = place.part(tensor)
            part.copy_(part.float() + change.reshape(part.shape))
    if not is_finite(tensor):
        raise UserError(
            f"{name} would overflow {entry['dtype']}",
            where=weights.path,
            fix="Use smaller weights, or an fp32 checkpoint.",
        )


def _change(key: str, terms: Sequence[MergeTerm], weights: CheckpointWeights, bias: bool) -> Tensor | None:
    total: Delta | None = None
    for file, weight, by_block in terms:
        weight *= blocks.weight_of(key, by_block)
        if weight == 0 or key not in file.modules:
            continue
        delta = layer_delta(file, key, weights).scaled(weight)
        total = delta if total is None else total + delta
    if total is None:
        return None
    return total.bias if bias else total.matrix()


def _new_header(header: Mapping[str, object], formula: str) -> bytes:
    metadata = {**header.get("__metadata__", {}), "merge_formula": formula}
    text = json.dumps({**header, "__metadata__": metadata}, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % container.LENGTH_BYTES)
    return len(text).to_bytes(container.LENGTH_BYTES, "little") + text


def _copy(source: BinaryIO, out: BinaryIO, size: int) -> None:
    while size > 0:
        block = source.read(min(size, COPY_BLOCK))
        if not block:
            raise UserError("The checkpoint is cut off", fix=container.FIX)
        out.write(block)
        size -= len(block)
