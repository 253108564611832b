from __future__ import annotations

import os

import pytest

from lib_lora.dataset.hashes import INDEX_NAME, FileHashes
from lib_lora.files import sha256_file


def test_a_file_is_read_again_only_when_it_has_changed(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    path.write_bytes(b"one")
    reads = []

    def counted(file):
        reads.append(file)
        return sha256_file(file)

    monkeypatch.setattr("lib_lora.dataset.hashes.sha256_file", counted)
    hashes = FileHashes(tmp_path)
    first = hashes.sha256(path)
    hashes.save()
    assert first == sha256_file(path)
    assert FileHashes(tmp_path).sha256(path) == first
    assert len(reads) == 1
    path.write_bytes(b"two")
    os.utime(path, ns=(1, 1))
    assert FileHashes(tmp_path).sha256(path) == sha256_file(path) != first
    assert len(reads) == 2


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b'{"a": 1}', b'{"a": ["x", 2, "y"]}', b"\xff\xfe", b"[" * 50_000, b'{"a": [Infinity, 2, "y"]}'],
)
def test_a_damaged_index_is_made_anew(tmp_path, content):
    (tmp_path / INDEX_NAME).write_bytes(content)
    path = tmp_path / "a.png"
    path.write_bytes(b"one")
    hashes = FileHashes(tmp_path)
    assert hashes.sha256(path) == sha256_file(path)
    hashes.save()
    assert str(path.resolve()) in (tmp_path / INDEX_NAME).read_text(encoding="utf-8").replace("\\\\", "\\")


def test_without_a_folder_nothing_is_written(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(b"one")
    hashes = FileHashes()
    hashes.sha256(path)
    hashes.save()
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]
