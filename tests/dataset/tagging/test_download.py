"""A tagger by one click, from a double of huggingface.co on this machine."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from lib_lora.dataset.tagging.download import NAME, download_tagger
from lib_lora.dataset.tagging.labels import CSV_NAME, read_labels
from lib_lora.dataset.tagging.onnx_model import MODEL_NAME
from lib_lora.errors import UserError

LABELS = b"tag_id,name,category,count\n1,1girl,0,5\n2,mira,4,5\n"
MODEL = b"\x08\x07" + bytes(3_000_000)


class Site:
    """What the double answers, by the file's name, and what was asked of it."""

    def __init__(self) -> None:
        self.files = {CSV_NAME: LABELS, MODEL_NAME: MODEL}
        self.cut = 0  # bytes that each answer lacks at its end
        self.hold = threading.Event()
        self.hold.set()
        self.asked: list[str] = []


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    told = Site()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            told.asked.append(self.path)
            told.hold.wait(20)
            content = told.files.get(self.path.rpartition("/")[2])
            self.send_response(200 if content else 404)
            self.send_header("Content-Length", str(len(content or b"")))
            self.end_headers()
            self.wfile.write((content or b"")[: len(content or b"") - told.cut])

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}/")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    yield told
    told.hold.set()
    server.shutdown()
    thread.join()
    server.server_close()


def test_both_files_once(site: Site, tmp_path: Path) -> None:
    assert download_tagger(tmp_path) == NAME
    assert [path.rpartition("/")[2] for path in site.asked] == [CSV_NAME, MODEL_NAME]
    assert all(f"/SmilingWolf/{NAME}/resolve/main/" in path for path in site.asked)
    assert (tmp_path / NAME / MODEL_NAME).read_bytes() == MODEL and len(read_labels(tmp_path / NAME).rows) == 2
    download_tagger(tmp_path)
    assert len(site.asked) == 2


def test_what_broke_off_is_no_tagger_and_goes_on(site: Site, tmp_path: Path) -> None:
    site.files[MODEL_NAME] = b""
    with pytest.raises(UserError, match="404"):
        download_tagger(tmp_path)
    site.files[MODEL_NAME], site.cut = MODEL, 1000
    with pytest.raises(UserError, match="broke off") as error:
        download_tagger(tmp_path)
    assert str(tmp_path) in str(error.value.fix)
    assert [path.name for path in (tmp_path / NAME).iterdir()] == [CSV_NAME]
    site.cut = 0
    download_tagger(tmp_path)
    assert sum(CSV_NAME in path for path in site.asked) == 1


@pytest.mark.parametrize("name", [CSV_NAME, MODEL_NAME])
def test_a_page_in_the_place_of_a_file_is_not_kept(site: Site, tmp_path: Path, name: str) -> None:
    site.files[name] = b"<html>Log in to this network</html>"
    with pytest.raises(UserError, match=r"damaged|no model|empty"):
        download_tagger(tmp_path)
    assert not (tmp_path / NAME / name).exists()


def test_no_network_and_a_second_click(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site.hold.clear()
    first = threading.Thread(target=download_tagger, args=(tmp_path,))
    first.start()
    while not site.asked:
        first.join(0.01)
    with pytest.raises(UserError, match="already"):
        download_tagger(tmp_path)
    site.hold.set()
    first.join()
    assert (tmp_path / NAME / MODEL_NAME).is_file()
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(UserError, match="cannot be reached"):
        download_tagger(tmp_path / "elsewhere")
