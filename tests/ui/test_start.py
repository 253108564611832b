"""What the page costs a web UI's start: modules beyond those that the web UI has anyway, garbage collection, gradio."""

from __future__ import annotations

import gc
import inspect
import subprocess
import sys
from pathlib import Path

import gradio as gr
import pytest

from lib_lora.start_up import uncollected
from lib_lora.ui import compat
from lib_lora.ui.app import build_page
from lib_lora.ui.files import Pictures
from lib_lora.workbench import Workbench
from tests.ui.bare_host import bare_host

ROOT = Path(__file__).parents[2]
MOST = 420  # of our own, about a millisecond each once their bytecode is there
LATER = ("bench", "diffusers", "lib_lora.demo.judge", "lib_lora.demo.tour", "lib_lora.demo.world",
         "lib_lora.hosts.standalone", "onnxruntime", "pytorch_optimizer", "tensorboard")  # fmt: skip
PROGRAM = """
import sys
import gradio, torch, PIL.Image, numpy, safetensors.torch, transformers, fastapi, pandas
before = set(sys.modules)
import lib_lora.ui.app
print("\\n".join(set(sys.modules) - before))
"""


def test_the_page_imports_nothing_heavy() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, check=True
    )
    found = done.stdout.split()
    ours = [name for name in found if name.partition(".")[0] == "lib_lora"]
    others = {name.partition(".")[0] for name in found} - {"lib_lora"} - set(sys.stdlib_module_names)
    assert others <= {"PIL"}  # modules that the web UI's own pictures need too
    assert not [name for name in found if name.startswith(LATER)]
    assert 300 < len(ours) <= MOST


def test_nothing_is_collected_meanwhile_and_what_was_made_counts_as_old() -> None:
    def collections() -> list[int]:
        return [generation["collections"] for generation in gc.get_stats()]

    gc.collect()
    before = collections()
    with uncollected():
        with uncollected():
            made = [[number] for number in range(100_000)]
        assert not gc.isenabled() and collections() == before
    after = collections()  # were they young, the first object made after them would have been too many
    assert after == before and len(made) == 100_000
    assert gc.isenabled() and gc.get_freeze_count() == 0


def test_the_collector_stays_as_it_was() -> None:
    gc.disable()
    try:
        with uncollected():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
    with pytest.raises(ZeroDivisionError), uncollected():
        _ = 1 / 0
    assert gc.isenabled()
    gc.freeze()
    try:
        with uncollected():
            pass
        assert gc.get_freeze_count()
    finally:
        gc.unfreeze()


def test_a_part_costs_no_app_and_is_the_same_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In gradio 4 making the app and the configuration of a part that never serves took as long as its fields."""
    apps, create = [], gr.routes.App.create_app
    monkeypatch.setattr(gr.routes.App, "create_app", staticmethod(lambda *a, **o: (apps.append(1), create(*a, **o))[1]))
    before = vars(gr.routes.App)["create_app"]
    workbench = Workbench(bare_host(tmp_path))
    made = build_page(workbench, Pictures(workbench.host.paths), standalone=False)
    assert apps == [] and vars(gr.routes.App)["create_app"] is before
    with gr.Blocks() as whole:
        made.render()
    count = len(apps)
    monkeypatch.setattr(compat, "part", compat.page)
    plain = build_page(workbench, Pictures(workbench.host.paths), standalone=False)
    assert len(apps) > count and made.get_config_file().keys() == plain.get_config_file().keys()
    with gr.Blocks() as other:
        plain.render()
    ours, theirs = whole.get_config_file(), other.get_config_file()
    kinds = [[(c["type"], c["props"].get("elem_id")) for c in config["components"]] for config in (ours, theirs)]
    assert len(kinds[0]) > 1000 and kinds[0] == kinds[1]
    assert len(ours["dependencies"]) == len(theirs["dependencies"]) > 400


def test_gradio_is_as_it_was_after_a_part_also_one_that_fails() -> None:
    def own() -> list[str]:
        modules = [module for name, module in sys.modules.items() if name.partition(".")[0] == "gradio"]
        return [module.__name__ for module in modules if vars(module).get("inspect") is inspect]

    before = own()
    with pytest.raises(ZeroDivisionError), compat.part():
        assert own() != before
        _ = 1 / 0
    assert before and own() == before
