"""Every function that the page has is called as gradio's own routes let anybody call it, hidden ones included."""

from __future__ import annotations

import hashlib
import inspect
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from lib_lora.adapters.file import write_lora
from lib_lora.training.config import TrainConfig
from lib_lora.training.run import Run
from lib_lora.ui import webui as entry
from lib_lora.ui.blocks_desk import BlocksDesk
from tests.hosts.common import visible_network

OPENED: list[str] = []  # what any code opens or lists, while it is not None


def _note(event: str, arguments: tuple[Any, ...]) -> None:
    if event in ("open", "os.listdir", "os.scandir", "os.mkdir", "os.rename", "os.remove") and arguments:
        OPENED.append(str(arguments[0]))


@pytest.fixture(scope="module", autouse=True)
def _audit() -> None:
    sys.addaudithook(_note)


@contextmanager
def opened() -> Iterator[list[str]]:
    OPENED.clear()
    yield OPENED


@contextmanager
def stranger(page: gr.Blocks) -> Iterator[Stranger]:
    page.config = page.get_config_file()  # a part gets its own from the page that it is rendered in
    with TestClient(gr.routes.App.create_app(page)) as client:
        yield Stranger(page, client)


class Stranger:
    """Somebody with the page's address."""

    def __init__(self, page: gr.Blocks, client: TestClient) -> None:
        self.page, self.client = page, client
        self.config = self.client.get("/config").json()
        self.prefix = self.config.get("api_prefix") or ""
        self.components = {c["id"]: c for c in self.config["components"]}

    def call(self, number: int, data: list[Any]) -> str:
        body = {"fn_index": number, "data": data, "session_hash": "stranger"}
        return self.client.post(f"{self.prefix}/run/predict", json=body).text

    def everything(self, text: str | None = None, only: Collection[str] = ()) -> list[str]:
        """The answers of all functions; ``text`` in every text field and choice, by default what is in them.

        Args:
            only: names of functions, by default all.
        """
        wanted = {}  # many a field's event calls the same with the same
        for number, dependency in enumerate(self.config["dependencies"]):
            inputs, number = tuple(dependency["inputs"]), dependency.get("id", number)
            if dependency.get("backend_fn") and (text is None or any(self._is_text(i) for i in inputs)):
                function = inspect.unwrap(self.page.fns[number].fn)
                if not only or getattr(function, "__name__", "") in only:
                    wanted[function, inputs] = number
        return [self.call(number, [self._value(i, text) for i in inputs]) for (_, inputs), number in wanted.items()]

    def _is_text(self, component: int) -> bool:
        return self.components[component]["type"] in ("textbox", "dropdown", "uploadbutton")

    def _value(self, component: int, text: str | None) -> Any:
        found = self.components[component]
        if found["type"] == "uploadbutton":
            if gr.__version__.startswith("3."):
                return None  # that version copies any file to where uploads are, whatever function is asked for
            return {"path": text, "name": text, "orig_name": "a.toml", "data": None, "is_file": True} if text else None
        value = found["props"].get("value")
        props = found["props"]
        known = [c[-1] if isinstance(c, (list, tuple)) else c for c in props.get("choices") or [text]]
        if text is None or not self._is_text(component) or not (text in known or props.get("allow_custom_value")):
            return value  # gradio would refuse it
        return [text] if props.get("multiselect") else text


@pytest.fixture
def owner(webui, tmp_path: Path) -> Iterator[Any]:
    """A web UI with a run, a LoRA, a draft and block weights, and a job that waits behind one that is held."""
    entry.workbench.cache_clear()
    bench = entry.workbench()
    paths = bench.host.paths
    write_lora(paths.loras / "hat.safetensors", visible_network(bench.host).modules(), {})
    images = paths.data / "set"
    images.mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(images / "a.png")
    run = bench.runs.create(TrainConfig(name="mira", data_dir=str(images), model=bench.host.checkpoints()[0]))
    run.set_notes("mine")
    (run.folder / "backups" / "step-00000003").mkdir(parents=True)
    (paths.data / "train-draft.json").write_text('{"preset": "x", "values": {"epochs": 77}}', encoding="utf-8")
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "tags.csv").write_text("hidden_tag,0,9\n", encoding="utf-8")
    (secret / "secret.toml").write_text('name = "hidden_tag"\nunet_lr = 0.5\n', encoding="utf-8")
    yield bench, run, secret
    entry.workbench.cache_clear()


def state(bench: Any, root: Path) -> tuple[Any, ...]:
    """Disk, queue and settings."""
    disk = {p: hashlib.sha256(p.read_bytes()).digest() if p.is_file() else "" for p in sorted(root.rglob("*"))}
    return disk, [(job.id, job.state) for job in bench.queue.jobs()], bench.host.info()


def picks(run: Run, secret: Path) -> list[str]:
    """What clicks inside the page's HTML send, and what fields of text may say."""
    return [f"back:{run.id}:3|1", f"open:{run.id}|1", run.id, "hat", str(secret / "tags.csv")]


def test_whoever_may_only_look_changes_nothing(webui, owner, monkeypatch: pytest.MonkeyPatch) -> None:
    bench, run, secret = owner
    monkeypatch.setattr(webui.modules.shared.cmd_opts, "disable_extension_access", True, raising=False)
    desks: list[BlocksDesk] = []
    monkeypatch.setattr(BlocksDesk, "set", lambda self, *_: desks.append(self))
    before = state(bench, webui.data)
    with stranger(entry.page()) as caller, opened() as seen:
        answers = [answer for text in (None, *picks(run, secret)) for answer in caller.everything(text)]
    assert len(answers) > 300 and sum("can only be looked at" in answer for answer in answers) > 100
    assert state(bench, webui.data) == before and not desks
    assert not [path for path in seen if path.startswith(str(secret))]


def test_no_function_opens_what_lies_elsewhere(webui, owner, monkeypatch: pytest.MonkeyPatch) -> None:
    _, _, secret = owner
    monkeypatch.setattr(webui.modules.shared.cmd_opts, "hide_ui_dir_config", True, raising=False)
    with stranger(entry.page()) as caller, opened() as seen:
        for text in (f"go:{secret}|1", str(secret / "tags.csv"), str(secret / "secret.toml")):
            assert not [answer for answer in caller.everything(text) if "hidden_tag" in answer]
    assert not [path for path in seen if path.startswith(str(secret))]


def test_the_owner_may(webui, owner) -> None:
    """Such calls do something where nothing is forbidden."""
    bench, _, _ = owner
    before = state(bench, webui.data)
    with stranger(entry.page()) as caller:
        caller.everything("mine", only=("save_preset",))
    assert state(bench, webui.data) != before
