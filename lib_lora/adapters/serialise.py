"""The safetensors container, written: a header, then tensors in any order, each as soon as it is there."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

import torch
from torch import Tensor

from lib_lora.adapters.container import LENGTH_BYTES, MAX_HEADER, METADATA, TYPES, Entry
from lib_lora.errors import UserError

NAMES = {dtype: name for name, dtype in TYPES.items()}


def layout(tensors: Mapping[str, Tensor]) -> dict[str, Entry]:
    """A place for each tensor, of which only type and shape count: the widest types first, so that each is aligned."""
    entries: dict[str, Entry] = {}
    place = 0
    for name in sorted(tensors, key=lambda name: (-tensors[name].element_size(), name)):
        tensor = tensors[name]
        end = place + tensor.numel() * tensor.element_size()
        entries[name] = Entry(NAMES[tensor.dtype], tuple(tensor.shape), place, end)
        place = end
    return entries


def head(entries: Mapping[str, Entry], metadata: Mapping[str, str]) -> bytes:
    """What stands before the data in the file. Equal metadata give equal bytes.

    Raises:
        UserError: the metadata are larger than the format allows.
    """
    header: dict[str, object] = {METADATA: dict(sorted(metadata.items()))}
    for name, entry in entries.items():
        header[name] = {"dtype": entry.type, "shape": entry.shape, "data_offsets": (entry.begin, entry.end)}
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % LENGTH_BYTES)  # tensors start aligned
    if len(text) > MAX_HEADER:
        fix = "Use a source file with less text in its metadata."
        raise UserError("The metadata are larger than a safetensors file may hold", where="metadata", fix=fix)
    return len(text).to_bytes(LENGTH_BYTES, "little") + text


class HashOnTheWay:
    """SHA-256 of a file's data, from the pieces as they are written, so that they need not be read again.

    Args:
        begin: what the data are taken to begin with, before that is written.
    """

    def __init__(self, begin: bytes):
        self._begin, self._place, self._sound = begin, len(begin), True
        self._digest = hashlib.sha256(begin)

    def wrote(self, place: int, piece: memoryview) -> None:
        """``piece`` was written at ``place``, counted from the first of the data."""
        end = place + len(piece)
        if end <= len(self._begin):
            self._sound &= self._begin[place:end] == piece
        elif place == self._place:
            self._digest.update(piece)
            self._place = end
        else:
            self._sound = False

    def digest(self) -> str | None:
        """In hex; None where the pieces came in another order than they lie, or began otherwise."""
        return self._digest.hexdigest() if self._sound else None


def as_stored(name: str, tensor: Tensor, dtype: torch.dtype | None) -> Tensor:
    """``tensor`` as a file has it: ``alpha`` in float32, other fractions in ``dtype`` (None: their own)."""
    if name.endswith(".alpha"):
        return tensor.detach().to(torch.float32)
    wanted = dtype if dtype is not None and tensor.is_floating_point() else tensor.dtype
    return tensor.detach().to(wanted)
