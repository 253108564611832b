"""The safetensors container: eight bytes of header length, a JSON header, the tensors' bytes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import safetensors
import safetensors.torch
from torch import Tensor

from lib_lora.errors import UserError

LENGTH_BYTES = 8
MAX_HEADER = 100_000_000  # the format's own limit
FIX = "Save or download it again."

# First bytes of what is often found under a .safetensors name
IMPOSTORS = {
    b"PK\x03\x04": "This is a PyTorch pickle (.ckpt, .pt) under another name, and pickles can run code",
    b"\x80\x02": "This is a PyTorch pickle (.ckpt, .pt) under another name, and pickles can run code",
    b"<": "This is a web page, not a model: the download needs a login, or the link is wrong",
    b"version https://git-lfs": "This is a Git LFS pointer; the model itself was not downloaded",
}


def read(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Metadata and tensors of a file; the file is closed when this returns.

    Raises:
        UserError: when the file is missing, cut off, damaged or not safetensors.
    """
    metadata = read_metadata(path)
    try:
        return metadata, safetensors.torch.load(path.read_bytes())
    # KeyError: a dtype torch does not have; ValueError and RuntimeError: sizes that do not fit the shapes
    except (safetensors.SafetensorError, KeyError, ValueError, RuntimeError) as error:
        raise UserError(f"The file is damaged ({error})", where=path, fix=FIX) from error


def read_metadata(path: Path) -> dict[str, str]:
    """The ``__metadata__`` of a file. Errors as :func:`read`."""
    header, _ = read_header(path)
    metadata = header.get("__metadata__", {})
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
    """Tensors as a file has them, to which metadata can be given without going over them again.

    Attributes:
        entries: name of a tensor -> its dtype, shape and place in ``data``.
        data: the tensors' bytes.
    """

    entries: Mapping[str, object]
    data: memoryview

    def head(self, metadata: Mapping[str, str]) -> bytes:
        """What stands before ``data`` in the file. Equal metadata give equal bytes: the library's order is random."""
        header = {"__metadata__": dict(sorted(metadata.items())), **self.entries}
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        text += b" " * (-len(text) % LENGTH_BYTES)  # tensors start aligned
        return len(text).to_bytes(LENGTH_BYTES, "little") + text


def serialise(tensors: Mapping[str, Tensor]) -> Serialised:
    """``tensors`` in a file's layout."""
    file = memoryview(safetensors.torch.save(dict(tensors)))
    start = LENGTH_BYTES + int.from_bytes(file[:LENGTH_BYTES], "little")
    return Serialised(json.loads(bytes(file[LENGTH_BYTES:start])), file[start:])


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
