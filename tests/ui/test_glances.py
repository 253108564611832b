"""Browse shows the first picture of each folder: by key only, in bounds, and never waiting for a drive."""

from __future__ import annotations

import io
import threading
import time
from concurrent.futures import Future
from pathlib import Path

import pytest
from PIL import Image

from lib_lora.access import Access, guarded, looks, under
from lib_lora.ui import glances
from lib_lora.ui.folder_picker import FolderPicker, Folders
from lib_lora.ui.glances import ROUTE, SIDE, WAITING, Glances


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mira").mkdir()
    Image.new("RGB", (400, 200), "red").save(tmp_path / "mira" / "b.png")
    Image.new("RGB", (400, 200), "blue").save(tmp_path / "mira" / "c.png")
    (tmp_path / "mira" / "a.png").write_text("no picture")
    return tmp_path / "mira"


def key_of(url: str) -> str:
    return url.rpartition("/")[2]


def test_the_first_picture_that_can_be_read(folder: Path) -> None:
    shown = Glances()
    picture = Image.open(io.BytesIO(shown.picture(key_of(shown.url(folder))) or b""))
    red, _, blue = picture.convert("RGB").resize((1, 1)).getpixel((0, 0))
    assert picture.size == (SIDE, SIDE // 2) and red > 200 > blue
    assert shown.picture(key_of(shown.url(folder / "c.png")))
    for nothing in (folder.parent, folder / "a.png", folder / "gone"):
        assert shown.picture(key_of(shown.url(nothing))) is None
    assert shown.picture("guessed") is None


def test_a_look_that_has_ended_at_once_holds_nobody_up(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What counts it down is then called by the caller itself; under its own lock that hung for ever."""
    ended: Future[bytes | None] = Future()
    ended.set_result(b"picture")
    shown = Glances()
    monkeypatch.setattr(shown._pool, "submit", lambda *_: ended)
    found: list[bytes | None] = []
    asking = threading.Thread(target=lambda: found.append(shown.picture(key_of(shown.url(folder)))), daemon=True)
    asking.start()
    asking.join(10)
    assert found == [b"picture"] and shown._waiting == 0


def test_what_is_large_or_has_too_many_pixels_is_left_out(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = Glances()
    monkeypatch.setattr(glances, "PIXELS", 1000)
    assert shown.picture(key_of(shown.url(folder))) is None
    monkeypatch.undo()
    monkeypatch.setattr(glances, "LARGEST", 20)
    assert shown.picture(key_of(shown.url(folder))) is None


def test_a_link_out_of_the_folders_of_the_caller_is_not_followed(folder: Path, tmp_path: Path) -> None:
    shown, inside = Glances(), tmp_path / "inside"
    inside.mkdir()
    (inside / "way out.png").symlink_to(folder / "b.png")
    assert shown.picture(key_of(shown.url(inside)))
    with under(Access(hide_paths=True, roots=(inside,))):
        url = guarded(looks(lambda: shown.url(inside)))()
    assert shown.picture(key_of(url)) is None


def test_a_drive_that_does_not_answer_keeps_nobody_waiting(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = threading.Event()
    monkeypatch.setattr(glances, "_look", lambda path: answers.wait(60) and b"picture")
    shown = Glances(patience=0.05)
    keys = [key_of(shown.url(folder)) for _ in range(WAITING + 200)]
    started = time.monotonic()
    assert [shown.picture(key) for key in keys] == [None] * len(keys)
    assert time.monotonic() - started < 5, "each of them waited"
    answers.set()
    for key in keys:  # those that were begun come, and afterwards the others too
        while shown.picture(key) is None:
            assert time.monotonic() - started < 30, "it never came"
            time.sleep(0.01)


def test_a_list_of_folders_asks_for_none_of_the_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(40):
        (tmp_path / f"{number:02}").mkdir()
    monkeypatch.setattr(glances, "_look", lambda path: pytest.fail("read without anybody looking"))
    listing = FolderPicker(lambda: Folders([tmp_path])).open(str(tmp_path))
    assert listing.count(f'<img src="{ROUTE}/') == listing.count('loading="lazy"') == 40
