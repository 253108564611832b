"""A second search reads only what is new."""

from __future__ import annotations

from lib_lora.dataset.duplicates import signatures
from lib_lora.dataset.duplicates.groups import find_duplicates
from lib_lora.dataset.duplicates.search import SearchOptions


def result(work):
    while True:
        try:
            next(work)
        except StopIteration as finished:
            return finished.value


def test_signatures_are_remembered(planted, tmp_path, monkeypatch):
    pictures = planted.pictures[:40]
    fresh = result(find_duplicates(pictures, cache=tmp_path))
    read = []
    load = signatures.load_rgb
    monkeypatch.setattr(signatures, "load_rgb", lambda path, **at: read.append(path) or load(path, **at))
    assert result(find_duplicates(pictures, cache=tmp_path)) == fresh and read == []
    assert len(fresh.pairs) > 5
    more = planted.pictures[:43]
    result(find_duplicates(more, cache=tmp_path))
    assert read == [picture.path for picture in more[40:]]


def test_both_kinds_of_signatures_stay_apart_and_damage_is_harmless(planted, tmp_path):
    pictures = planted.pictures[:12]
    plain = result(find_duplicates(pictures, cache=tmp_path))
    content = result(find_duplicates(pictures, SearchOptions(ignore_background=True), tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["signatures-content.npz", "signatures.npz"]
    for path in tmp_path.iterdir():
        path.write_bytes(path.read_bytes()[:100])
    assert result(find_duplicates(pictures, cache=tmp_path)) == plain
    assert result(find_duplicates(pictures, SearchOptions(ignore_background=True), tmp_path)) == content
