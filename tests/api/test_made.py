"""Generated pictures and sliders through the API."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from lib_lora.access import Access
from lib_lora.dataset.editor import DatasetEditor
from lib_lora.workbench import Workbench
from tests.api.test_api import Caller

SMALL = {"width": 64, "height": 64, "steps": 1, "cfg": 1.0}


@pytest.fixture
def workbench(tiny_host) -> Workbench:
    torch.set_num_threads(1)
    return Workbench(tiny_host)


@pytest.fixture
def caller(workbench: Workbench) -> Caller:
    return Caller(workbench, Access())


def test_pictures_are_drawn_chosen_and_taken_into_a_set(caller: Caller, workbench: Workbench) -> None:
    root = workbench.host.paths.data / "sets" / "mine"
    root.mkdir(parents=True)
    job = caller.finished(caller.post("generate", name="made", prompts=["1girl, (hat:1.2)"], count=2, **SMALL))
    assert job["state"] == "done", job
    made = caller.get("made/made").json()
    assert made["wanted"] == 2 and [row["picture"] for row in made["pictures"]] == ["0001", "0002"]
    assert [row["kept"] for row in made["pictures"]] == [None, None]
    caller.post("keep", name="made", picture="0001", answer="keep")
    assert caller.post("keep", name="made", answer="undo").json()["pictures"][0]["kept"] is None
    assert caller.post("keep", name="made", picture="0002", answer="keep").json()["pictures"][1]["kept"] is True
    assert caller.post("take", name="made", set=str(root)).json() == {"added": 1, "notes": []}
    assert (root / "made made" / "made-0002.txt").read_text(encoding="utf-8") == "1girl, hat"
    assert caller.post("take", name="made", set=str(root)).json()["added"] == 0
    DatasetEditor([root], workbench.host.paths.places.dataset).undo()
    assert not (root / "made made").exists()


def test_a_slider_draws_its_pictures_and_is_trained(caller: Caller, workbench: Workbench) -> None:
    body = {"name": "s", "more": "hat", "less": "hair", "prompts": ["1girl"], "pictures": 2, "training_steps": 2}
    answer = caller.post("slider", **body, **SMALL)
    job = caller.finished(answer)
    assert job["state"] == "done", job
    config = workbench.runs.open(answer.json()["run"]).config()
    assert config.is_slider and config.te_lr == 0 and len(list(Path(config.data_dir).glob("*.png"))) == 2
    assert (workbench.host.paths.loras / "s.safetensors").exists()


@pytest.mark.parametrize(
    ("path", "body", "where"),
    [
        ("generate", {"name": "../x", "prompts": ["a"]}, "Name of the drawing"),
        ("generate", {"name": "x", "prompts": []}, "prompts"),
        ("generate", {"name": "x", "prompts": ["<lora:a:1>"]}, "prompts"),
        ("generate", {"name": "x", "prompts": ["a"], "loras": "gone:1"}, "loras"),
        ("generate", {"name": "x", "prompts": ["a"], "count": 10**9}, "count"),
        ("keep", {"name": "x", "picture": "0001", "answer": "keep"}, "0001"),
        ("keep", {"name": "x", "answer": "perhaps"}, "answer"),
        ("take", {"name": "x", "set": "/nowhere/at/all"}, "set"),
        ("slider", {"name": "x", "prompts": ["a"]}, "More of"),
        ("slider", {"name": "x", "more": "a"}, "prompts"),
        ("slider", {"name": "x", "after": "b"}, "Pictures before"),
    ],
)
def test_mistakes_are_named(caller: Caller, path: str, body: dict, where: str) -> None:
    answer = caller.post(path, **body, **(SMALL if path in ("generate", "slider") else {}))
    assert answer.status_code == 400 and where in str(answer.json()["error"]["where"]), answer.text


def test_who_may_only_look_changes_nothing(workbench: Workbench) -> None:
    caller = Caller(workbench, Access(read_only=True))
    for path in ("generate", "keep", "take", "slider"):
        assert caller.post(path, name="x").status_code == 403
