"""Event files that TensorBoard reads, without TensorBoard.

A file is a row of records: length (uint64), masked CRC-32C of the length, payload, masked CRC-32C of the payload, all
little-endian (TensorFlow's ``TFRecord``). A payload is a protocol buffer ``Event``: 1 wall_time, 2 step, 3
file_version, 5 summary; a summary holds values of 1 tag and 2 simple_value.
"""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lib_lora.files import atomic_write

POLYNOMIAL = 0x82F63B78  # Castagnoli's, reflected
MASK = 0xA282EAD8
VERSION = b"brain.Event:2"
VARINT, DOUBLE, BYTES, FLOAT = 0, 1, 2, 5  # wire types

TAGS = {  # key of a row of metrics.jsonl or epochs.json -> name of the curve
    "loss": "loss/step",
    "grad_norm": "gradient/norm",
    "lr": "learning rate/first group",
    "running_loss": "loss/epoch",
    "fixed_loss": "loss/fixed noise",
    "validation_loss": "loss/validation",
}


def append_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Add rows with a ``step`` to an event file; a file that is not there is begun."""
    content = b"" if path.exists() else _start()
    with open(path, "ab") as f:
        f.write(content + b"".join(map(_record_of, rows)))


def rewrite_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Make an event file that holds ``rows`` and nothing else."""
    with atomic_write(path) as part:
        part.write_bytes(_start() + b"".join(map(_record_of, rows)))


def cut_after(path: Path, step: int) -> bool:
    """Forget what comes after ``step``, and half a record; False where there is no event file, or something else."""
    content = path.read_bytes() if path.is_file() else b""
    if content[: 8 + 4 + 1] != _start()[: 8 + 4 + 1]:
        return False
    at = 0
    while at + 12 <= len(content):
        (length,) = struct.unpack_from("<Q", content, at)
        if at + 16 + length > len(content) or _step_of(content, at + 12) > step:
            break
        at += 16 + length
    if at < len(content):
        os.truncate(path, at)
    return True


def _step_of(content: bytes, at: int) -> int:
    """Of the ``Event`` that begins ``at``; 0 for one without."""
    at += 9  # its time
    if content[at : at + 1] != _varint(2 << 3 | VARINT):
        return 0
    step = shift = 0
    for byte in content[at + 1 : at + 11]:
        step |= (byte & 0x7F) << shift
        if byte < 0x80:
            break
        shift += 7
    return step


def record(payload: bytes) -> bytes:
    """One framed record."""
    length = struct.pack("<Q", len(payload))
    return b"".join((length, _masked_crc(length), payload, _masked_crc(payload)))


def event(wall_time: float, step: int, values: Mapping[str, float]) -> bytes:
    """An ``Event`` with a scalar for each tag."""
    summary = b"".join(
        _field(1, BYTES, _field(1, BYTES, tag.encode()) + _field(2, FLOAT, value)) for tag, value in values.items()
    )
    return _field(1, DOUBLE, wall_time) + _field(2, VARINT, step) + _field(5, BYTES, summary)


def crc32c(data: bytes) -> int:
    """Castagnoli's cyclic redundancy check (RFC 3720, appendix B.4)."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _TABLE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


def _start() -> bytes:
    return record(_field(1, DOUBLE, time.time()) + _field(3, BYTES, VERSION))


def _record_of(row: Mapping[str, Any]) -> bytes:
    values = {tag: row[key] for key, tag in TAGS.items() if row.get(key) is not None}
    return record(event(row.get("time") or time.time(), row["step"], values))


def _field(number: int, wire_type: int, value: Any) -> bytes:
    key = _varint(number << 3 | wire_type)
    if wire_type == VARINT:
        return key + _varint(value)
    if wire_type == BYTES:
        return key + _varint(len(value)) + bytes(value)
    return key + struct.pack("<d" if wire_type == DOUBLE else "<f", value)


def _varint(value: int) -> bytes:
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*parts, value))


def _masked_crc(data: bytes) -> bytes:
    crc = crc32c(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + MASK) & 0xFFFFFFFF)


def _table() -> tuple[int, ...]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (POLYNOMIAL if value & 1 else 0)
        table.append(value)
    return tuple(table)


_TABLE = _table()
