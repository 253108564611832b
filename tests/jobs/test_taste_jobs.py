"""Tuning by taste on a real, narrow model: pictures ahead, answers in order, and what is on disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from lib_lora.adapters import Network, NetworkSpec, write_lora
from lib_lora.errors import UserError
from lib_lora.jobs.taste_jobs import TasteJob
from lib_lora.models.base import GenerationRequest
from lib_lora.tools.pictures import read_png
from lib_lora.tools.taste.preference import FIRST, SECOND
from lib_lora.tools.taste.recipe import Recipe
from lib_lora.tools.taste.session import TasteSession
from lib_lora.workbench import Workbench
from lib_lora.workbench.taste import TasteTuning

SMALL = GenerationRequest("", width=64, height=64, steps=1, cfg=1.0)


@pytest.fixture
def workbench(tiny_host) -> Workbench:
    return Workbench(tiny_host)


@pytest.fixture
def tuning(workbench: Workbench) -> TasteTuning:
    for seed, name in enumerate(("mira", "base")):
        with workbench.host.training_session() as model:
            network = Network.create(model.layers(), NetworkSpec(rank=1, alpha=1), seed)
        for parameter in network.parameters():
            parameter.data = torch.full(parameter.shape, 0.05)
        write_lora(workbench.host.paths.loras / f"{name}.safetensors", network.modules(), {})
    return TasteTuning(workbench, "mira")


def wait(workbench: Workbench) -> None:
    for job in workbench.queue.jobs():
        workbench.queue.wait(job.id, 60)
    assert not [job.error for job in workbench.queue.jobs() if job.error]


def recipe(**options) -> Recipe:
    return Recipe("mira", prompts=("1girl", "1boy"), seeds=(1, 2), settings=SMALL, **options)


def drawn(tuning: TasteTuning, session: TasteSession, number: int) -> list[Path]:
    return [wanted.path for side in tuning.pictures(session, number) for wanted in side if wanted.path.exists()]


def test_the_question_and_the_next_are_drawn(workbench: Workbench, tuning: TasteTuning) -> None:
    session = tuning.start(recipe(pictures=2, base="base", base_blocks="GP2"))
    wait(workbench)
    assert [len(drawn(tuning, session, number)) for number in range(2)] == [4, 4]
    left, right = tuning.pictures(session, 0)
    assert [w.request.seed for w in left] == [w.request.seed for w in right] == [1, 2]
    shown = [np.asarray(read_png(side[0].path), dtype=float) for side in (left, right)]
    assert (shown[0] != shown[1]).any()
    after = tuning.answer(0, FIRST)
    wait(workbench)
    assert len(drawn(tuning, after, 2)) == 4 and tuning.session() == after
    assert {job.kind for job in workbench.queue.jobs()} == {TasteJob.kind}


def test_two_hands_answer_a_question_once(workbench: Workbench, tuning: TasteTuning) -> None:
    with pytest.raises(UserError, match="Nothing is tuned yet"):
        tuning.answer(0, FIRST)
    tuning.start(recipe())
    tuning.answer(0, FIRST)
    with pytest.raises(UserError, match="answered already"):
        tuning.answer(0, SECOND)
    with pytest.raises(UserError, match="not asked yet"):
        tuning.answer(7, SECOND)
    assert tuning.undo().answered == 0
    wait(workbench)


def test_starting_anew_loses_nothing(workbench: Workbench, tuning: TasteTuning) -> None:
    tuning.start(recipe())
    first = tuning.answer(0, FIRST)
    assert tuning.start(recipe()).answered == 0
    assert TasteSession.load(tuning.folder / "session-1.json") == first
    tuning.path.write_text("{", encoding="utf-8")
    with pytest.raises(UserError, match="damaged"):
        tuning.go_on()
    assert tuning.start(recipe()).answered == 0
    assert len(list(tuning.folder.glob("session*"))) == 3
    wait(workbench)
    with pytest.raises(UserError, match="no LoRA called 'gone'"):
        tuning.start(Recipe("gone", prompts=("a",), settings=SMALL))


def test_names_that_look_alike_have_folders_of_their_own(workbench: Workbench) -> None:
    names = ("a b", "a_b", "A_B", "x/a_b", "コン", "a" * 300)
    folders = [TasteTuning(workbench, name).folder for name in names]
    assert len({folder.name.lower() for folder in folders}) == len(names)
    assert all(len(folder.name.encode()) < 200 and folder.parent.name == "taste" for folder in folders)
