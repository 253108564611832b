"""The web UI's command line decides who may do what, in the tab and over HTTP."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import gradio as gr
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from lib_lora.access import Access, changes, guarded, looks, under
from lib_lora.api.routes import PREFIX
from lib_lora.errors import UserError
from lib_lora.hosts.access import web_ui_access
from lib_lora.ui import webui as entry
from lib_lora.ui.actions import act
from lib_lora.ui.app import PATH_FIELDS
from lib_lora.ui.compat import check_connected, listen


@pytest.fixture
def options(webui, monkeypatch: pytest.MonkeyPatch):
    """Sets options of the command line."""
    entry.workbench.cache_clear()
    yield lambda **changes: [
        monkeypatch.setattr(webui.modules.shared.cmd_opts, name, value, raising=False)
        for name, value in changes.items()
    ]
    entry.workbench.cache_clear()


def test_by_default_there_is_no_api_and_all_buttons_work(options) -> None:
    access = web_ui_access()
    assert not (access.api or access.read_only or access.hide_paths or access.credentials)


def test_the_command_line_is_heard(webui, options) -> None:
    options(api=True, api_auth="anna:a:b,ben:c", disable_extension_access=True, hide_ui_dir_config=True)
    access = web_ui_access()
    assert access.api and access.read_only and access.hide_paths
    assert access.credentials == {"anna": "a:b", "ben": "c"}
    assert webui.data.resolve() in access.roots


@pytest.mark.parametrize(
    ("changes", "status"), [({}, 404), ({"api": True}, 200), ({"api": True, "api_auth": "a:b"}, 401)]
)
def test_the_api_of_the_web_ui(webui, options, changes, status: int) -> None:
    options(**changes)
    app = FastAPI()
    entry.add_routes(app)
    assert TestClient(app).get(f"{PREFIX}/status").status_code == status
    assert not webui.modules.sd_models.files_read  # asking how it is loads no model


def test_what_does_not_say_what_it_does_is_not_connected() -> None:
    page = gr.Blocks()
    with page:
        button = gr.Button()
        for connect in (lambda fn: act(button.click, fn, [], gr.HTML()), lambda fn: listen(button.click, fn)):
            with pytest.raises(TypeError, match="without @looks or @changes"):
                connect(lambda: "done")
        check_connected(page)
        button.click(lambda: None)
        with pytest.raises(TypeError, match="without @looks or @changes"):
            check_connected(page)


def test_a_read_only_page_refuses_all_but_looking() -> None:
    connected = []

    def trigger(fn, inputs, outputs, **_):
        connected.append(fn)

    class Panel:
        @looks
        def show(self):
            return "shown"

        @changes
        def do(self, what: str):
            return what

    with under(Access(read_only=True)):
        act(trigger, partial(Panel().do, "done"), [], None)
        act(trigger, Panel().show, [], None)
        listen(trigger, partial(Panel().do, "done"), [], ["a", "b"])
    act(trigger, partial(Panel().do, "done"), [], None)
    refused, shown, quiet, done = (fn() for fn in connected)
    assert "--enable-insecure-extension-access" in refused[0]
    assert shown[0].startswith("shown") and done[0].startswith("done") and len(quiet) == 2 and "done" not in quiet


@pytest.mark.parametrize("outside", ["/etc", "~", "in/../..", "in\n/etc", '"/etc"', "in/\0"])
def test_a_path_outside_is_refused_where_paths_are_hidden(tmp_path: Path, monkeypatch, outside: str) -> None:
    @looks(paths=("folders",))
    def show(number: int, folders: str) -> str:
        return folders

    monkeypatch.chdir(tmp_path)
    access = Access(hide_paths=True, roots=(tmp_path / "in",))
    with under(access):
        shown = guarded(show)
    assert shown(1, "in\n in/deeper ") and shown(1, "") == "" and shown(1, None) is None
    with pytest.raises(UserError, match="may not be used") as refused:
        shown(1, outside)
    assert refused.value.where == "folders" and guarded(show)(1, outside) == outside


def test_path_fields_are_hidden_where_the_owner_wants_it(webui, options) -> None:
    def in_sight() -> set[str]:
        page = entry.page()
        return {b.elem_id for b in page.blocks.values() if getattr(b, "visible", True) and getattr(b, "elem_id", None)}

    assert in_sight() >= PATH_FIELDS
    options(hide_ui_dir_config=True)
    assert not in_sight() & PATH_FIELDS and "lw_train_name" in in_sight()


def test_a_read_only_tab_says_so(webui, options) -> None:
    options(disable_extension_access=True)
    page = entry.page()
    assert any("only be looked at" in str(getattr(block, "value", "")) for block in page.blocks.values())
