"""The event files against the published check value, and an independent reading of the format."""

from __future__ import annotations

import struct
from pathlib import Path

from lib_lora.training.tensorboard import append_rows, crc32c, event, record, rewrite_rows


def read(path: Path) -> list[bytes]:
    """The payloads, with both checksums verified."""
    content, payloads = path.read_bytes(), []
    while content:
        (length,) = struct.unpack("<Q", content[:8])
        payload = content[12 : 12 + length]
        for data, stored in ((content[:8], content[8:12]), (payload, content[12 + length : 16 + length])):
            crc = crc32c(data)
            assert ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF == struct.unpack("<I", stored)[0]
        payloads.append(payload)
        content = content[16 + length :]
    return payloads


def test_crc32c_check_values():
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(bytes(32)) == 0x8A9136AA  # RFC 3720, B.4
    assert crc32c(b"\xff" * 32) == 0x62A8AB43
    assert crc32c(bytes(range(32))) == 0x46DD794E


# written by the package tensorboard (2.x) itself
GOLDEN = "1b000000000000001a0d9e1309000000000000f83f10ac022a0d0a0b0a046c6f7373150000803e9908deed"


def test_a_record_is_tensorboards_byte_for_byte():
    assert record(event(1.5, 300, {"loss": 0.25})).hex() == GOLDEN


def test_rows_are_appended_and_rewritten(tmp_path):
    path = tmp_path / "events.out.tfevents.1.x"
    append_rows(path, [{"step": 1, "loss": 0.5, "lr": 1e-4, "grad_norm": 2.0}])
    append_rows(path, [{"step": 2, "loss": 0.25, "fixed_loss": None}])
    first, one, two = read(path)
    assert b"brain.Event:2" in first
    assert all(tag in one for tag in (b"loss/step", b"learning rate/first group", b"gradient/norm"))
    assert struct.pack("<f", 0.25) in two and b"fixed noise" not in two
    rewrite_rows(path, [{"step": 1, "loss": 0.5}])
    assert len(read(path)) == 2
