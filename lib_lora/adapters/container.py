"""The safetensors container: eight bytes of header length, a JSON header, the tensors' bytes."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import RawIOBase
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lib_lora.errors import UserError

LENGTH_BYTES = 8
METADATA = "__metadata__"
MAX_HEADER = 100_000_000  # the format's own limit
FIX = "Save or download it again."
DTYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.float8_e4m3fn: "F8_E4M3",
    torch.float8_e5m2: "F8_E5M2",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
TYPES = {name: dtype for dtype, name in DTYPES.items()}

# First bytes of what is often found under a .safetensors name
IMPOSTORS = {
    b"PK\x03\x04": "This is a PyTorch pickle (.ckpt, .pt) under another name, and pickles can run code",
    b"\x80\x02": "This is a PyTorch pickle (.ckpt, .pt) under another name, and pickles can run code",
    b"<": "This is a web page, not a model: the download needs a login, or the link is wrong",
    b"version https://git-lfs": "This is a Git LFS pointer; the model itself was not downloaded",
}


def read(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Metadata and tensors of a file, read straight into their own memory; the file is closed when this returns.

    Raises:
        UserError: when the file is missing, cut off, damaged or not safetensors.
    """
    header, start = read_header(path)
    metadata = _metadata(path, header)
    tensors = {}
    try:
        with open(path, "rb", buffering=0) as file:
            places = _places(header, file.seek(0, os.SEEK_END) - start)
            file.seek(start)
            for name, dtype, shape in places:
                tensors[name] = tensor = torch.empty(shape, dtype=dtype)
                _fill(file, _bytes(tensor))
    except OSError as error:
        raise UserError(f"The file cannot be read ({error.strerror})", where=path, fix=FIX) from error
    # OverflowError and RuntimeError: shapes with a zero and numbers that torch does not take
    except (KeyError, TypeError, ValueError, OverflowError, RuntimeError) as error:
        raise UserError(f"The file is damaged ({error})", where=path, fix=FIX) from error
    return metadata, tensors


def _places(header: Mapping[str, Any], size: int) -> list[tuple[str, torch.dtype, list[int]]]:
    """Name, type and shape of each tensor, in the order of the data, which they have to fill without a gap.

    Raises:
        KeyError, TypeError, ValueError: they do not.
    """
    entries = [(name, entry) for name, entry in header.items() if name != METADATA]
    found, place = [], 0
    for name, entry in sorted(entries, key=lambda item: item[1]["data_offsets"]):
        dtype, shape, (begin, end) = TYPES[entry["dtype"]], entry["shape"], entry["data_offsets"]
        if not all(isinstance(number, int) and number >= 0 for number in (*shape, begin, end)):
            raise ValueError(f"the shape of {name}")
        length = math.prod(shape) * torch.empty((), dtype=dtype).element_size()
        if begin != place or end != place + length:
            raise ValueError(f"the place of {name}")
        found.append((name, dtype, shape))
        place = end
    if place != size:
        raise ValueError(f"{size} bytes instead of {place}")
    return found


def _fill(file: RawIOBase, view: memoryview) -> None:
    while view:
        count = file.readinto(view)  # at most 2 GiB at once
        if not count:
            raise ValueError("it ends too early")
        view = view[count:]


def _bytes(tensor: Tensor) -> memoryview:
    """The memory of a contiguous tensor."""
    return memoryview(tensor.reshape(-1).view(torch.uint8).numpy())


def read_metadata(path: Path) -> dict[str, str]:
    """The ``__metadata__`` of a file. Errors as :func:`read`."""
    return _metadata(path, read_header(path)[0])


def _metadata(path: Path, header: Mapping[str, Any]) -> dict[str, str]:
    metadata = header.get(METADATA, {})
    if not isinstance(metadata, dict):
        raise UserError("The file is damaged (its metadata is not a table)", where=path, fix=FIX)
    return {str(k): str(v) for k, v in metadata.items()}


def data_hash(path: Path) -> str:
    """Hex SHA-256 of the tensors' bytes. Errors as :func:`read`."""
    _, start = read_header(path)
    digest = hashlib.sha256()
    with open(path, "rb") as f:
        f.seek(start)
        while block := f.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


@dataclass(frozen=True)
class Serialised:
    """Tensors as a file has them, none of them copied.

    Attributes:
        entries: name of a tensor -> its dtype, shape and place in the data.
        parts: the data, which are the tensors' own bytes one after the other.
    """

    entries: Mapping[str, object]
    parts: Sequence[memoryview]

    def head(self, metadata: Mapping[str, str]) -> bytes:
        """What stands before the data in the file. Equal metadata give equal bytes."""
        header = {METADATA: dict(sorted(metadata.items())), **self.entries}
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        text += b" " * (-len(text) % LENGTH_BYTES)  # tensors start aligned
        return len(text).to_bytes(LENGTH_BYTES, "little") + text

    def data_hash(self) -> str:
        """Hex SHA-256 of the data."""
        digest = hashlib.sha256()
        for part in self.parts:
            digest.update(part)
        return digest.hexdigest()

    def data(self, begin: int, end: int) -> bytes:
        """The data from ``begin`` to before ``end``, as far as there are any."""
        found, start = [], 0
        for part in self.parts:
            if start >= end:
                break
            found.append(part[max(0, begin - start) : end - start])
            start += len(part)
        return b"".join(found)


def serialise(tensors: Mapping[str, Tensor]) -> Serialised:
    """``tensors`` in a file's layout, the widest types first, so that each is aligned."""
    entries, parts, place = {}, [], 0
    for name in sorted(tensors, key=lambda name: (-tensors[name].element_size(), name)):
        tensor = tensors[name].detach().cpu().contiguous()
        part = _bytes(tensor)
        end = place + len(part)
        entries[name] = {"dtype": DTYPES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [place, end]}
        parts.append(part)
        place = end
    return Serialised(entries, parts)


def read_header(path: Path) -> tuple[dict, int]:
    """The parsed header and the offset of the tensors' bytes."""
    try:
        size = path.stat().st_size
        with open(path, "rb") as f:
            begin = f.read(32)
            length = int.from_bytes(begin[:LENGTH_BYTES], "little")
            f.seek(LENGTH_BYTES)
            text = f.read(min(length, MAX_HEADER))
    except FileNotFoundError:
        raise UserError("There is no such file", where=path, fix="Check the name and the folder.") from None
    except OSError as error:
        raise UserError(
            f"The file cannot be read ({error.strerror})", where=path, fix="Check the path and its rights."
        ) from error
    for start, what in IMPOSTORS.items():
        if begin.startswith(start):
            raise UserError(what, where=path, fix="Get the safetensors version of it.")
    if size < LENGTH_BYTES or length > size - LENGTH_BYTES:
        raise UserError("The file is cut off, or not a safetensors file", where=path, fix=FIX)
    return _parse_header(path, text), LENGTH_BYTES + length


def _parse_header(path: Path, text: bytes) -> dict:
    try:
        header = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError("The file is damaged (its header is not readable)", where=path, fix=FIX) from error
    if not isinstance(header, dict):
        raise UserError("The file is damaged (its header is not a table)", where=path, fix=FIX)
    return header
