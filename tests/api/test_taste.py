"""Tuning by taste through the API."""

from __future__ import annotations

from pathlib import Path

import gradio as gr
import pytest
import torch

from lib_lora.access import Access
from lib_lora.adapters import Network, NetworkSpec, write_lora
from lib_lora.adapters.formula import parse
from lib_lora.api import bodies
from lib_lora.ui.blocks_desk import BlocksDesk
from lib_lora.ui.blocks_taste_panel import TastePanel
from lib_lora.ui.files import Pictures
from lib_lora.workbench import Workbench
from tests.api.test_api import Caller

SMALL = {"prompts": ["1girl"], "seeds": [1, 2], "pictures": 2, "width": 64, "height": 64, "steps": 1, "cfg": 1.0}


@pytest.fixture
def workbench(tiny_host) -> Workbench:
    with tiny_host.training_session() as model:
        layers = {key: layer for key, layer in model.layers().items() if "mid_block" in key}
        network = Network.create(layers, NetworkSpec(rank=1, alpha=1), 0)
    for parameter in network.parameters():
        parameter.data = 0.1 * torch.ones(parameter.shape)
    write_lora(tiny_host.paths.loras / "mira.safetensors", network.modules(), {})
    return Workbench(tiny_host)


@pytest.fixture
def caller(workbench: Workbench) -> Caller:
    return Caller(workbench, Access())


def test_a_tuning_from_start_to_best(caller: Caller, workbench: Workbench) -> None:
    assert caller.get("taste/mira").status_code == 400
    asked = caller.post("taste", lora="mira", **SMALL).json()
    assert (asked["question"], asked["sure"]) == (0, 0.5)
    for job in workbench.queue.jobs():
        workbench.queue.wait(job.id, 60)
    asked = caller.get("taste/mira").json()
    assert asked["ready"] and all(Path(path).is_file() for side in asked["pictures"] for path in side)
    after = caller.post("answer", lora="mira", question=0, better="second").json()
    assert after["question"] == after["answers"] == 1 and after["sure"] > 0.5
    (term,) = parse(after["best"])
    assert term.name == "mira" and term.blocks
    assert caller.post("answer", lora="mira", question=1, better="undo").json()["answers"] == 0


def test_it_begins_with_as_many_pictures_as_the_page(workbench: Workbench) -> None:
    panel = TastePanel(BlocksDesk(workbench), Pictures(workbench.host.paths), None)
    with gr.Blocks():
        panel.build()
    assert str(bodies.Taste(lora="mira", prompts=["1girl"]).pictures) == panel.count.value


@pytest.mark.parametrize(
    ("path", "body", "where"),
    [
        ("taste", {"lora": "gone", **SMALL}, "loras"),
        ("taste", {"lora": "mira", **SMALL, "prompts": []}, "Prompts"),
        ("taste", {"lora": "mira", **SMALL, "seeds": []}, "Seeds"),
        ("taste", {"lora": "mira", **SMALL, "seeds": [-1]}, "Seeds"),
        ("taste", {"lora": "mira", **SMALL, "blocks": "1,2,3"}, "block weights"),
        ("taste", {"lora": "mira", **SMALL, "pictures": 1000}, "Pictures on each side"),
        ("taste", {"lora": "mira", **SMALL, "steps": 10**9}, "steps"),
        ("answer", {"lora": "mira", "question": 0, "better": "first"}, "mira"),
        ("answer", {"lora": "mira", "question": 0, "better": "best"}, "better"),
    ],
)
def test_mistakes_are_named(caller: Caller, path: str, body: dict, where: str) -> None:
    answer = caller.post(path, **body)
    assert answer.status_code == 400 and where in str(answer.json()["error"]["where"])


def test_who_may_only_look_answers_nothing(workbench: Workbench) -> None:
    caller = Caller(workbench, Access(read_only=True))
    assert caller.post("taste", lora="mira", **SMALL).status_code == 403
    assert caller.post("answer", lora="mira", question=0, better="first").status_code == 403
