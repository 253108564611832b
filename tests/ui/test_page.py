"""The whole page, without a browser."""

from __future__ import annotations

from collections import Counter
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import gradio as gr
import pytest

from lib_lora.api.routes import PREFIX
from lib_lora.ui.app import build_page, serve
from lib_lora.ui.files import Pictures
from lib_lora.workbench import Workbench
from tests.ui.bare_host import bare_host


@pytest.fixture
def workbench(tmp_path: Path) -> Workbench:
    return Workbench(bare_host(tmp_path))


def test_no_two_fields_have_the_same_name(workbench: Workbench) -> None:
    page = build_page(workbench, Pictures(workbench.host.paths), standalone=True)
    blocks = [block for block in page.blocks.values() if not isinstance(block, gr.TabItem)]
    fields = [b for b in blocks if getattr(b, "label", None) and hasattr(b, "interactive")]
    seen = Counter(b.label for b in fields if "lw-hidden" not in (b.elem_classes or []))
    assert len(seen) > 100 and [label for label, count in seen.items() if count > 1] == []


@pytest.mark.parametrize("kind", ["bytes", "folder"])
def test_the_page_is_built_over_damaged_small_files(tmp_path: Path, kind: str) -> None:
    """Block presets, settings of trainings and the draft are read while the page is built."""
    places = bare_host(tmp_path).paths.places
    damaged = [places.block_presets, places.draft, places.presets / "mine.toml"]
    for path in damaged:
        path.parent.mkdir(parents=True, exist_ok=True)
        if kind == "folder":
            path.mkdir()
        else:
            path.write_bytes(b"\xff\xfe\0{[no preset here\n")
    workbench = Workbench(bare_host(tmp_path))
    page = build_page(workbench, Pictures(workbench.host.paths), standalone=True)
    presets = next(b for b in page.blocks.values() if getattr(b, "elem_id", "") == "lw_blocks_preset")
    assert {"ALL", "OUTS", "GP1"} <= {value for _, value in presets.choices}
    if kind == "bytes":
        assert [path.read_bytes()[:2] for path in damaged] == [b"\xff\xfe"] * 3


@pytest.mark.parametrize("wrapped", [False, True])
def test_no_answer_covers_what_it_changes_with_a_spinner(
    workbench: Workbench, monkeypatch: pytest.MonkeyPatch, wrapped: bool
) -> None:
    """Forge wraps every event of a component, and what its signature was is no longer seen."""

    def build(self: gr.Button, *args: Any, **options: Any) -> None:
        init(self, *args, **options)
        click = self.click
        self.click = lambda *a, **o: click(*a, **{"js" if k == "_js" else k: v for k, v in o.items()})

    init = gr.Button.__init__
    if wrapped:
        monkeypatch.setattr(gr.Button, "__init__", build)
    page = build_page(workbench, Pictures(workbench.host.paths), standalone=True)
    events = page.get_config_file()["dependencies"]
    assert len(events) > 300 and {event["show_progress"] for event in events} == {"hidden"}


def test_no_event_makes_gradio_tell_every_component_how_it_is_getting_on(workbench: Workbench) -> None:
    """Version 6 does where it asks a handler by itself: over a second a click."""
    events = build_page(workbench, Pictures(workbench.host.paths), standalone=True).get_config_file()["dependencies"]
    asked = [event for event in events if event["backend_fn"]]
    assert len(asked) > 300 and not any(event["targets"] for event in asked)
    assert sum((event["js"] or "").startswith("async (...values)") for event in events) == len(asked)


def test_our_server_answers_no_other_site(workbench: Workbench) -> None:
    """gradio's own routes included; under its own name it answers."""
    server = serve(workbench, 7961)
    try:
        address = urlsplit(server.address)

        def status(path: str, method: str = "GET", **headers: str) -> int:
            connection = HTTPConnection(address.hostname, address.port, timeout=20)
            connection.request(method, path, body=b"{}" if method == "POST" else None, headers=headers)
            return connection.getresponse().status

        assert status("/") == status("/config") == status(f"{PREFIX}/status") == 200
        for path in ("/", "/config", f"{PREFIX}/status", "/lora_workbench/news/x"):
            assert status(path, Host="evil.example") == 403
        for path in ("/gradio_api/run/predict", "/gradio_api/upload", "/gradio_api/queue/join", f"{PREFIX}/stop"):
            assert status(path, "POST", Origin="https://evil.example") == 403
            assert status(path, "POST", Host="evil.example", Origin="http://evil.example") == 403
    finally:
        server.close()
