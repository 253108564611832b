"""The web UI's command line decides who may do what, in the tab and over HTTP."""

from __future__ import annotations

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from lib_lora.api.routes import PREFIX
from lib_lora.hosts.access import web_ui_access
from lib_lora.ui import webui as entry
from lib_lora.ui.actions import act, looks, only_looking
from lib_lora.ui.app import PATH_FIELDS


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


def test_a_read_only_page_refuses_all_but_looking() -> None:
    connected = []

    def trigger(fn, inputs, outputs, **_):
        connected.append(fn)

    @looks
    def show():
        return "shown"

    with only_looking(True):
        act(trigger, lambda: "done", [], None)
        act(trigger, show, [], None)
    act(trigger, lambda: "done", [], None)
    refused, shown, done = (fn() for fn in connected)
    assert "--enable-insecure-extension-access" in refused[0]
    assert (shown, done) == (["shown"], ["done"])


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
