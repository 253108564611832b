"""The safetensors container, read: eight bytes of header length, a JSON header, the tensors' bytes.

What a file is, is judged by whether its header reads as one, never by what its first bytes look like: the length of a
sound header may begin like a pickle or like a web page. No file is held open between two readings.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import stat
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from io import RawIOBase
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import Tensor

from lib_lora.errors import UserError

LENGTH_BYTES = 8
METADATA = "__metadata__"
MAX_HEADER = 100_000_000  # the format's own limit
MAX_STRUCTURE = 8_000_000  # bytes of a header outside of its strings: some 200,000 tensors
SMALL_HEADER = 8_000_000
HASHED = 1 << 20  # bytes at once
FIX = "Save or download it again."
_DTYPES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "C64": "complex64",
    "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2", "F8_E4M3FNUZ": "float8_e4m3fnuz",
    "F8_E5M2FNUZ": "float8_e5m2fnuz", "F8_E8M0": "float8_e8m0fnu",
    "I64": "int64", "I32": "int32", "I16": "int16", "I8": "int8",
    "U64": "uint64", "U32": "uint32", "U16": "uint16", "U8": "uint8", "BOOL": "bool",
}  # fmt: skip
# Names of the format -> types that this torch has
TYPES: dict[str, torch.dtype] = {n: getattr(torch, t) for n, t in _DTYPES.items() if hasattr(torch, t)}
# Bits of the types that it may not have
_BITS = {"F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8, "U16": 16, "U32": 32, "U64": 64}
_BITS |= {"F4": 4, "F6_E2M3": 6, "F6_E3M2": 6}

# First bytes of what is often found under a .safetensors name
PICKLE = "This is a PyTorch pickle (.ckpt, .pt) under another name, and pickles can run code"
IMPOSTORS = {
    b"PK\x03\x04": PICKLE,
    b"\x80\x02": PICKLE,
    b"<": "This is a web page, not a model: the download needs a login, or the link is wrong",
    b"version https://git-lfs": "This is a Git LFS pointer; the model itself was not downloaded",
    b"GGUF": "This is a GGUF file under another name",
}
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)


@dataclass(frozen=True)
class Entry:
    """One tensor of a file: its type by the format's name, its shape, and its bytes from ``begin`` to before ``end``.

    The places count from the end of the header.
    """

    type: str
    shape: tuple[int, ...]
    begin: int
    end: int

    @property
    def dtype(self) -> torch.dtype | None:
        """None for a type that this torch does not have."""
        return TYPES.get(self.type)


@dataclass(frozen=True)
class Container:
    """What a file's header says, and its tensors on request.

    Attributes:
        metadata: the ``__metadata__``; its values are text.
        entries: name -> :class:`Entry`, in the order of the data, which they fill without a gap.
        start: where in the file the data begin.
        stamp: size and date of the file when its header was read.
    """

    path: Path
    metadata: dict[str, str]
    entries: dict[str, Entry]
    start: int
    stamp: tuple[int, int]

    def read(self, names: Iterable[str] | None = None) -> dict[str, Tensor]:
        """These tensors (None: all), read straight into memory of their own; the file is closed when this returns.

        Raises:
            UserError: the file is gone or another one than when its header was read, or a type is not known to torch.
        """
        names = list(self.entries) if names is None else sorted(names, key=lambda name: self.entries[name].begin)
        tensors = {}
        try:
            with self.opened() as file:
                for name in names:
                    tensors[name] = self._read_one(file, name)
        except OSError as error:
            raise _unreadable(self.path, error) from error
        except (ValueError, RuntimeError, MemoryError) as error:  # RuntimeError: what torch does not take
            raise _damaged(self.path, str(error)) from error
        return tensors

    def opened(self) -> RawIOBase:
        """The file, open for reading.

        Raises:
            UserError: it is another one than when its header was read.
            OSError: it is gone, or cannot be read.
        """
        file = _opened(self.path)
        if _stamp(file) != self.stamp:
            file.close()
            raise UserError("The file was changed while it was being read", where=self.path, fix="Try again.")
        return file

    def _read_one(self, file: RawIOBase, name: str) -> Tensor:
        entry = self.entries[name]
        if entry.dtype is None:
            what = f"{name} is stored as {entry.type}, which cannot be read here"
            raise UserError(what, where=self.path, fix="Use a float16, bfloat16 or float32 version of the file.")
        tensor = torch.empty(entry.shape, dtype=entry.dtype)
        file.seek(self.start + entry.begin)
        _fill(file, bytes_of(tensor))
        return tensor

    def outline(self) -> dict[str, Tensor]:
        """Name -> a tensor of that type and shape without memory behind it; types unknown to torch as uint8."""
        return {
            name: torch.empty(entry.shape, dtype=entry.dtype or torch.uint8, device="meta")
            for name, entry in self.entries.items()
        }


def open_container(path: Path) -> Container:
    """Read and check a file's header.

    Raises:
        UserError: when the file is missing, cut off, damaged or not safetensors.
    """
    try:
        with _opened(path) as file:
            stamp = _stamp(file)
            begin = file.read(64)
            length = int.from_bytes(begin[:LENGTH_BYTES], "little")
            if length > min(stamp[0] - LENGTH_BYTES, MAX_HEADER):
                raise _not_safetensors(path, begin, stamp[0])
            text = bytearray(length)
            file.seek(LENGTH_BYTES)
            _fill(file, memoryview(text))
    except FileNotFoundError:
        raise UserError("There is no such file", where=path, fix="Check the name and the folder.") from None
    except OSError as error:
        raise _unreadable(path, error) from error
    except ValueError as error:
        raise _damaged(path, str(error)) from error
    header = _parsed(path, bytes(text), begin)
    metadata = header.pop(METADATA, None) or {}
    if not isinstance(metadata, dict):
        raise _damaged(path, "its metadata is not a table")
    try:
        entries = _entries(header, stamp[0] - LENGTH_BYTES - length)
    except ValueError as error:
        raise _damaged(path, str(error)) from error
    return Container(path, {k: str(v) for k, v in metadata.items()}, entries, LENGTH_BYTES + length, stamp)


def read(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Metadata and tensors of a file. Errors as :func:`open_container` and :meth:`Container.read`."""
    container = open_container(path)
    return container.metadata, container.read()


def read_metadata(path: Path) -> dict[str, str]:
    """The ``__metadata__`` of a file. Errors as :func:`open_container`."""
    return open_container(path).metadata


def data_hash(path: Path, given_up: Callable[[], bool] = lambda: False) -> str:
    """Hex SHA-256 of the tensors' bytes; of some of them once it is ``given_up``. Errors as :func:`open_container`."""
    return hash_from(path, open_container(path).start, given_up)


def hash_from(path: Path, start: int, given_up: Callable[[], bool] = lambda: False) -> str:
    """Hex SHA-256 of a file's bytes from ``start`` on, or to where it is ``given_up``."""
    digest, block = hashlib.sha256(), memoryview(bytearray(HASHED))
    with open(path, "rb", buffering=0) as f:
        f.seek(start)
        while (count := f.readinto(block)) and not given_up():
            digest.update(block[:count])
    return digest.hexdigest()


def bytes_of(tensor: Tensor) -> memoryview:
    """The memory of a contiguous tensor on the CPU."""
    flat = tensor.reshape(-1)
    if flat.stride() != (1,):  # of one number, which counts as contiguous with any
        flat = flat.as_strided(flat.shape, (1,))
    return flat.view(torch.uint8).numpy().data


def _opened(path: Path) -> RawIOBase:
    if not stat.S_ISREG(os.stat(path).st_mode):  # a pipe would wait for somebody to write
        raise UserError("This is not a file", where=path, fix="Check the name and the folder.")
    return open(path, "rb", buffering=0)


def _stamp(file: RawIOBase) -> tuple[int, int]:
    found = os.fstat(file.fileno())
    return found.st_size, found.st_mtime_ns


def _fill(file: RawIOBase, view: memoryview) -> None:
    while view:
        count = file.readinto(view)  # at most 2 GiB at once
        if not count:
            raise ValueError("it ends too early")
        view = view[count:]


def _parsed(path: Path, text: bytes, begin: bytes) -> dict[str, Any]:
    if len(text) > SMALL_HEADER and _has_too_many_parts(text):
        raise UserError("The file's header is too large to be a model's", where=path, fix=FIX)
    try:
        header = json.loads(text.decode("utf-8"), parse_constant=_no_constant)
        if b"\\ud" in text or b"\\uD" in text:
            json.dumps(header, ensure_ascii=False).encode()  # half a surrogate pair is no text
    except (ValueError, RecursionError, MemoryError) as error:
        raise _not_safetensors(path, begin, None) from error
    if not isinstance(header, dict):
        raise _damaged(path, "its header is not a table")
    return header


def _has_too_many_parts(text: bytes) -> bool:
    """Whether the values of a header, and not the length of one of them, make it large: they would fill the memory."""
    quotes = text.count(b'"') - text.count(b'\\"')
    return quotes > MAX_STRUCTURE // 4 or len(_STRING.sub(b"", text)) > MAX_STRUCTURE


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _entries(header: Mapping[str, Any], size: int) -> dict[str, Entry]:
    """The tensors of a header in the order of the data, of which there are ``size`` bytes.

    Raises:
        ValueError: they do not fill the data without a gap.
    """
    entries: dict[str, Entry] = {}
    place = 0
    found = {name: _entry(name, values) for name, values in header.items()}
    for name, entry in sorted(found.items(), key=lambda item: (item[1].begin, item[1].end)):
        bits = 8 * TYPES[entry.type].itemsize if entry.type in TYPES else _BITS.get(entry.type)
        if bits is None:
            raise ValueError(f"{name} is of the unknown type {entry.type}")
        if entry.begin != place or 8 * (entry.end - place) != math.prod(entry.shape) * bits:
            raise ValueError(f"the place of {name}")
        entries[name] = entry
        place = entry.end
    if place != size:
        raise ValueError(f"{size} bytes instead of {place}")
    return entries


def _entry(name: str, values: Any) -> Entry:
    try:
        kind, shape, (begin, end) = values["dtype"], values["shape"], values["data_offsets"]
        sound = all(type(number) is int and 0 <= number < 1 << 63 for number in (*shape, begin, end))
    except (KeyError, TypeError, ValueError):
        sound = False
    if not sound or not isinstance(kind, str):
        raise ValueError(f"what it says of {name}")
    return Entry(kind, tuple(shape), begin, end)


def _not_safetensors(path: Path, begin: bytes, size: int | None) -> UserError:
    """The error for a file without a readable header; ``size`` of the file where that is what tells."""
    for start, what in IMPOSTORS.items():
        if begin.startswith(start):
            return UserError(what, where=path, fix="Get the safetensors version of it.")
    if size is None:
        return _damaged(path, "its header is not readable")
    if size == 0:
        return UserError("The file is empty", where=path, fix=FIX)
    return UserError("The file is cut off, or not a safetensors file", where=path, fix=FIX)


def _damaged(path: Path, why: str) -> UserError:
    return UserError(f"The file is damaged ({why})", where=path, fix=FIX)


def _unreadable(path: Path, error: OSError) -> UserError:
    fix = "Check the path and its permissions."
    return UserError(f"The file cannot be read ({error.strerror or error})", where=path, fix=fix)
