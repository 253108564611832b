from __future__ import annotations

import os
import struct
import sys
import zlib

import pytest
from PIL import Image

from bench.faults.disk import FULL, Disk
from lib_lora.dataset.collection import headers
from lib_lora.dataset.duplicates.groups import find_duplicates
from lib_lora.dataset.editor import DatasetEditor
from lib_lora.dataset.tags.index import TagFilter
from lib_lora.errors import UserError


def by_name(editor: DatasetEditor) -> dict:
    return {picture.path.name: picture for picture in editor.pictures}


def reasons(editor: DatasetEditor) -> dict[str, str]:
    return {problem.path.name: problem.reason for problem in editor.problems}


def test_concept_folders_plain_folders_and_masks(add_image, opened, tmp_path):
    add_image("5_mira/a.png", caption="mira, smile")
    add_image("5_mira/deeper/b.png")
    add_image("loose/c.png")
    add_image("loose/c-masklabel.png")
    add_image("loose/d.png")
    add_image("loose/masks/d.png")
    pictures = by_name(opened())
    assert list(pictures) == ["a.png", "b.png", "c.png", "d.png"]
    assert pictures["a.png"].folder == pictures["b.png"].folder == tmp_path / "5_mira"
    assert pictures["c.png"].folder == tmp_path
    assert pictures["c.png"].mask == tmp_path / "loose/c-masklabel.png"
    assert pictures["d.png"].mask == tmp_path / "loose/masks/d.png"


def test_side_cars_of_downloaders(add_image, opened):
    gallery = add_image("a.png")
    gallery.with_name("a.png.txt").write_text("1girl\nlong hair\n", encoding="utf-8")
    typed = add_image("b.png")
    typed.with_name("b.png.json").write_text('{"tags": "solo mira", "tags_character": ["mira"]}', encoding="utf-8")
    both = add_image("c.png", caption="my, own")
    both.with_name("c.json").write_text('{"tag_string": "x", "parent_id": 3}', encoding="utf-8")
    pictures = by_name(opened())
    assert pictures["a.png"].tags == ("1girl", "long hair")
    assert pictures["a.png"].caption == gallery.with_suffix(".txt")
    assert pictures["b.png"].tags == ("solo", "mira") and pictures["b.png"].types["mira"] == "character"
    assert pictures["c.png"].tags == ("my", "own") and pictures["c.png"].family == "3"


@pytest.mark.parametrize(
    "content",
    [
        '{"tags": ' + "[" * 100_000,
        '{"tags": [' + '{"a": [' * 50_000,
        '{"score": ' + "9" * 5000 + ', "tags": "x"}',
        "\0" * 9,
        "",
    ],
    ids=["deep", "deep objects", "5,000 digits", "zeros", "empty"],
)
def test_a_hostile_side_car_costs_itself(add_image, opened, content):
    hostile = add_image("a.png")
    hostile.with_name("a.png.json").write_text(content, encoding="utf-8")
    add_image("b.png", caption="mira")
    pictures = by_name(opened())
    assert list(pictures) == ["a.png", "b.png"] and pictures["b.png"].tags == ("mira",)


@pytest.mark.parametrize("name", ["9" * 200 + "_mira", "99999999999999999999_mira", "1e400_mira"])
def test_repeats_beyond_all_bounds_are_no_repeats(add_image, opened, name):
    add_image(f"{name}/a.png", caption="mira")
    assert [picture.tags for picture in opened().pictures] == [("mira",)]


def test_nothing_found_is_fatal(add_image, opened, tmp_path):
    good = add_image("good.png", caption="fine")
    data = good.read_bytes()
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "text.png").write_bytes(b"no picture")
    (tmp_path / "cut.png").write_bytes(data[:20])
    header = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    bomb = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    (tmp_path / "huge.png").write_bytes(bomb + struct.pack(">I", 0) + b"IDAT" + struct.pack(">I", zlib.crc32(b"IDAT")))
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "moving.webp", save_all=True, append_images=frames[1:])
    (tmp_path / "film.gif").write_bytes(b"GIF89a")
    add_image("latin.png").with_suffix(".txt").write_bytes("schön".encode("latin-1"))
    add_image("broken.png").with_name("broken.png.json").write_text("{", encoding="utf-8")
    add_image("ein Bild äöü 図.png", caption="umlaut")
    add_image("n" * 251 + ".png", caption="long")
    editor = opened()
    assert {"good.png", "moving.webp", "latin.png", "broken.png", "ein Bild äöü 図.png"} <= set(by_name(editor))
    found = reasons(editor)
    assert set(found) == {
        "empty.png", "text.png", "cut.png", "huge.png", "moving.webp", "film.gif", "latin.txt", "broken.png.json"
    }  # fmt: skip
    assert "empty" in found["empty.png"] and "million pixels" in found["huge.png"] and "UTF-8" in found["latin.txt"]
    assert not by_name(editor)["latin.png"].readable
    assert len(by_name(editor)) == 6


@pytest.mark.skipif(sys.platform == "win32", reason="symbolic links need rights there")
def test_loops_of_links_end(add_image, opened, tmp_path):
    add_image("inner/a.png")
    os.symlink(tmp_path, tmp_path / "inner" / "loop")
    os.symlink("itself", tmp_path / "itself")
    editor = opened()
    assert list(by_name(editor)) == ["a.png"]
    assert reasons(editor)["loop"] == "the folder is already part of this set"


def test_missing_folders_are_named(tmp_path):
    editor = DatasetEditor([tmp_path / "nowhere"], tmp_path / "cache")
    assert editor.pictures == () and reasons(editor) == {"nowhere": "the folder does not exist"}
    with pytest.raises(UserError, match="No folder"):
        DatasetEditor([], tmp_path)


def test_headers_are_read_once(add_image, opened, monkeypatch):
    add_image("a.png", (40, 20))
    opened()
    monkeypatch.setattr(headers, "read_header", lambda path: pytest.fail(f"read again: {path}"))
    assert opened().pictures[0].size == (40, 20)


@pytest.mark.parametrize("content", ["", "[" * 50_000, '{"a.png": [1, 2]}', '{"%s": [%d, %d, "x", null, 3, 0]}', "[]"])
def test_damaged_headers_are_read_anew(add_image, opened, content):
    path = add_image("a.png", (40, 20))
    editor = opened()
    state = path.stat()
    values = (path, state.st_mtime_ns, state.st_size) if "%" in content else ()
    (editor.thumbnails.folder.parent / "headers.json").write_text(content % values, encoding="utf-8")
    assert opened().pictures[0].size == (40, 20)


def test_a_full_disk_costs_headers_and_signatures_only_their_time(add_image, opened):
    for name in ("a.png", "b.png"):
        add_image(name, (40, 20))
    cache = opened().thumbnails.folder.parent
    (cache / "headers.json").unlink()
    with Disk(cache, 1, FULL).mounted():
        editor = opened()
        assert len(editor.pictures) == 2
        for _ in find_duplicates(editor.pictures, cache=cache):
            pass
    assert not list(cache.iterdir())


@pytest.mark.parametrize("keep", [0, 0.5])
def test_a_thumbnail_that_was_cut_off_is_made_anew(add_image, opened, keep):
    add_image("a.png", (600, 300))
    editor = opened()
    path = editor.thumbnails.path(editor.pictures[0])
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * keep)])
    assert editor.thumbnails.path(editor.pictures[0]).read_bytes() == whole


def test_thumbnails_are_small_and_made_once(add_image, opened):
    add_image("a.png", (600, 300))
    editor = opened()
    path = editor.thumbnails.path(editor.pictures[0])
    made = path.stat().st_mtime_ns
    assert Image.open(path).size == (256, 128)
    assert editor.thumbnails.path(editor.pictures[0]) == path and path.stat().st_mtime_ns == made


def test_filter_gives_pictures(add_image, opened):
    add_image("a.png", caption="mira, smile")
    add_image("b.png", caption="smile")
    editor = opened()
    assert [p.path.name for p in editor.select(TagFilter(("smile",), none_of=("mira",)))] == ["b.png"]
    assert [p.path.name for p in editor.lacking("mira")] == ["b.png"]


@pytest.mark.skipif(sys.platform == "win32", reason="symbolic links need rights there")
def test_files_that_vanish_are_named(add_image, opened, tmp_path):
    add_image("a.png")
    os.symlink("nowhere", tmp_path / "gone.png")
    os.symlink("nowhere", tmp_path / "a.txt")
    editor = opened()
    assert list(by_name(editor)) == ["a.png"] and not by_name(editor)["a.png"].readable
    assert reasons(editor)["gone.png"] == "the file is not there any more"
    assert "cannot be read" in reasons(editor)["a.txt"]
