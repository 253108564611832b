"""The entry point as the web UI runs it: quick to import, one tab, pictures by address, and it survives Reload UI."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import gradio as gr
import pytest
import torch
from fastapi import FastAPI
from fastapi.testclient import TestClient
from PIL import Image

from lib_lora.adapters.file import write_lora
from lib_lora.ui import webui as entry
from lib_lora.ui.compat import functions
from lib_lora.ui.prompt_weights import INFOTEXT, tag

ROOT = Path(__file__).parents[3]
SCRIPT = ROOT / "scripts" / "lora_workbench.py"
WEIGHTS = SCRIPT.with_name("lora_workbench_weights.py")
MEASURE = f"""
import sys, time
import gradio, torch, PIL.Image, numpy, safetensors.torch
sys.path.insert(0, {str(Path(__file__).parents[1] / "doubles" / "a1111")!r})
import modules.script_callbacks
sys.path.insert(0, {str(ROOT)!r})
started = time.process_time()
import runpy
runpy.run_path({str(SCRIPT)!r})
print(time.process_time() - started)
"""


@pytest.fixture
def run_script(webui, monkeypatch):
    """Executes the script as the web UI does; returns the module."""
    entry.workbench.cache_clear()

    def execute():
        from modules import script_callbacks

        for callbacks in script_callbacks.callbacks.values():
            callbacks.clear()
        spec = importlib.util.spec_from_file_location("lora_workbench.py", SCRIPT)
        spec.loader.exec_module(importlib.util.module_from_spec(spec))
        return script_callbacks.callbacks

    yield execute
    entry.workbench.cache_clear()


def test_import_is_quick():
    def seconds() -> float:
        return float(subprocess.run([sys.executable, "-c", MEASURE], capture_output=True, text=True, check=True).stdout)

    assert min(seconds() for _ in range(3)) < 0.3


def test_the_tab_is_built_without_loading_a_model(webui, run_script):
    (callback,) = run_script()["ui_tabs"]
    ((page, title, element),) = callback()
    assert (title, element) == ("LoRA Workbench", "lora_workbench")
    assert webui.host.info() is None and not webui.modules.sd_models.files_read
    assert len(page.blocks) > 50 and all(block.do_not_save_to_config for block in page.blocks.values())
    ids = {getattr(block, "elem_id", None) for block in page.blocks.values()}
    assert "lw_job" in ids and "lw_model" not in ids  # the web UI has its own choice of a checkpoint at the top


def test_reload_ui_keeps_the_workbench(webui, run_script):
    run_script()["ui_tabs"][0]()
    first = entry.workbench()
    run_script()["ui_tabs"][0]()
    assert entry.workbench() is first


def test_pictures_of_runs_have_an_address_and_nothing_else_has(webui, run_script):
    callbacks = run_script()
    app = FastAPI()
    callbacks["app_started"][0](None, app)
    runs = webui.host.paths.runs
    (runs / "1").mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(runs / "1" / "a.png")
    client = TestClient(app)
    assert client.get("/lora_workbench/image/runs/1/a.png").status_code == 200
    assert client.get("/lora_workbench/image/runs/1/b.png").status_code == 404


def test_where_we_cannot_work_the_tab_says_why(webui, run_script, monkeypatch):
    from lib_lora.errors import UserError

    def refuse():
        raise UserError("Training inside this web UI is not possible yet")

    monkeypatch.setattr(entry, "web_ui_host", refuse)
    ((page, _, _),) = run_script()["ui_tabs"][0]()
    assert any("not possible yet" in str(getattr(block, "value", "")) for block in page.blocks.values())
    run_script()["app_started"][0](None, FastAPI())


@pytest.mark.parametrize("broken", ["import", "page"])
def test_what_fails_while_the_tab_is_built_is_said_in_it(webui, run_script, monkeypatch, caplog, broken):
    if broken == "import":
        monkeypatch.setitem(sys.modules, "lib_lora.ui.webui", None)
    else:
        monkeypatch.setattr(entry, "build_page", lambda *_, **__: {}["a setting that is gone"])
    ((page, title, _),) = run_script()["ui_tabs"][0]()
    text = next(block.value for block in page.blocks.values() if getattr(block, "value", ""))
    assert title == "LoRA Workbench" and "the rest of the web UI works" in text
    assert ("lib_lora.ui.webui" if broken == "import" else "KeyError: 'a setting that is gone'") in text
    assert caplog.records[-1].exc_info


@pytest.fixture
def weights(webui):
    """The script of the accordion, as the web UI makes it."""
    spec = importlib.util.spec_from_file_location("lora_workbench_weights.py", WEIGHTS)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    entry.workbench.cache_clear()
    entry._prompt_weights.cache_clear()
    yield module.LoraWorkbenchWeights()
    entry.workbench.cache_clear()
    entry._prompt_weights.cache_clear()


def test_the_accordion_is_left_out_where_it_fails(webui, weights, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "lib_lora.ui.webui", None)
    assert weights.ui(is_img2img=False) == []
    assert caplog.records[-1].exc_info


def test_the_accordion_lists_new_files_and_comes_back_from_an_infotext(webui, weights, network):
    with gr.Blocks() as page:
        lora, weight, blocks = weights.ui(is_img2img=False)
    assert not any("hat" in str(choice) for choice in lora.choices)
    write_lora(webui.host.paths.loras / "hat.safetensors", network.modules(), {}, dtype=torch.float32)
    assert [function()["choices"] for function in functions(page)] == [["", "hat"]] * 2  # with the page, when entered

    made = {INFOTEXT: tag("hat", "1@0,0.5@1", "OUTS")}
    filled = [(field, read(made)) for field, read in weights.infotext_fields]
    assert filled == [(lora, "hat"), (weight, "1@0,0.5@1"), (blocks, "OUTS")]
    assert [read({INFOTEXT: tag("hat", "0.7", "")}) for _, read in weights.infotext_fields] == ["hat", "0.7@0", ""]
    assert [read({}) for _, read in weights.infotext_fields] == ["", "1", ""]


def test_hashes_of_our_files_are_in_the_infotext(webui, weights, network, monkeypatch):
    write_lora(webui.host.paths.loras / "hat.safetensors", network.modules(), {}, dtype=torch.float32)
    webui.modules.shared.sd_model  # noqa: B018 — loads it
    file = SimpleNamespace(filename=str(webui.host.paths.loras / "hat.safetensors"), shorthash="0123456789ab")
    extension = SimpleNamespace(available_network_aliases={"hat": file})
    monkeypatch.setitem(sys.modules, "networks", extension)
    p = SimpleNamespace(prompts=["<lora:hat:1@0,0@1>"], sd_model=webui.modules.shared.sd_model, close=lambda: None)
    p.extra_generation_params = {"Lora hashes": "x: 111111111111"}
    weights.before_process_batch(p)
    for _ in range(2):  # a batch each
        weights.process_batch(p)
    p.close()
    assert p.extra_generation_params == {"Lora hashes": "x: 111111111111, hat: 0123456789ab"}
