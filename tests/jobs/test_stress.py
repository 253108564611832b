"""Many hands at once: page and API over one queue, and everything is whole afterwards.

``LORA_WORKBENCH_STRESS`` is how many seconds it lasts.
"""

from __future__ import annotations

import os
import random
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import gradio as gr
import pytest
import torch
from fastapi import FastAPI
from fastapi.testclient import TestClient

from lib_lora.access import Access
from lib_lora.adapters.file import read_lora
from lib_lora.api.routes import PREFIX, add_api
from lib_lora.dataset.tags.edits import Add
from lib_lora.errors import UserError
from lib_lora.jobs.queue import JobQueue
from lib_lora.models.base import GenerationRequest
from lib_lora.training.state import StateSlots
from lib_lora.ui.dataset.session import Session
from lib_lora.ui.files import Pictures
from lib_lora.ui.runs_tab import RunsTab
from lib_lora.ui.status import StatusStrip
from lib_lora.ui.train_tab import TrainTab
from lib_lora.workbench import Workbench
from tests.jobs.end_worker import one_step

SECONDS = float(os.environ.get("LORA_WORKBENCH_STRESS", "60"))
HANDS = 8
NAMES = 60
PAUSE = 0.3  # seconds at most between two things that one hand does: the training is to come on, too
PICTURE = GenerationRequest("girl", width=64, height=64, steps=2, seed=4)


class Hands:
    """What a user, or a program, may do next; each with the part of the program that the page or the API calls."""

    def __init__(self, bench: Workbench, folder: Path):
        self.bench = bench
        pictures = Pictures(bench.host.paths)
        self.train, self.runs, self.status = TrainTab(bench, pictures), RunsTab(bench, pictures), StatusStrip(bench)
        with gr.Blocks():
            for tab in (self.train, self.runs, self.status):
                tab.build()
        self.runs.form = self.train.form
        self.config = one_step(folder, epochs=6, sample_prompts="girl --s 1", save_every_n_epochs=4)
        self.set, self.session = folder, Session(bench)
        app = FastAPI()
        add_api(app, bench, Access().within(folder))
        self.client = TestClient(app)
        self.settings = {name: getattr(self.config, name) for name in ("data_dir", "resolution", "bucket_step", "rank",
                         "epochs", "batch_size", "te_lr", "fixed_loss_images")}  # fmt: skip

    def actions(self, chance: random.Random) -> list[Callable[[], object]]:
        live, waiting = self.train.live, self.train.waiting
        jobs, runs = self.bench.queue.jobs(), self.bench.runs.list()
        job = chance.choice(jobs).id if jobs else 0
        run = chance.choice(runs).id if runs else None
        name = f"n{chance.randrange(NAMES)}"
        asked = chance.choice(["save", "sample", "backup"])
        now, config = f"|{time.monotonic()}", type(self.config)(**vars(self.config) | {"name": name})
        often = [
            live.now, self.status.now, lambda: self.runs.now(run, []), lambda: self.runs.show(run),
            lambda: self.client.get(f"{PREFIX}/status"), lambda: self.client.get(f"{PREFIX}/runs"),
            lambda: live.ask(asked), self.pause_for_a_moment,
            lambda: waiting.follow(f"{chance.choice(['up', 'down', 'change'])}:{job}{now}"),
            lambda: self.session.open([self.set]), self.tag, self.session.undo,
        ]  # fmt: skip
        seldom = [
            lambda: self.train.run_queue(*self.train.form.values(config)),
            lambda: self.post("start", settings={**self.settings, "name": name}),
            lambda: self.runs.go_on(run, 1), lambda: self.bench.resume(run or "none"), self.train.sweep_grid,
            lambda: self.bench.host.generate([PICTURE]),
        ]  # fmt: skip
        rarely = [
            live.pause_or_go_on, self.status.pause_or_go_on,
            lambda: live.end(save=True), lambda: live.end(save=False), self.status.end,
            lambda: self.post("stop", job=job, save=True), lambda: waiting.follow(f"out:{job}{now}"),
            lambda: self.bench.queue.cancel(job), lambda: self.runs.remove(run),
        ]  # fmt: skip
        return chance.choices((often, seldom, rarely), (0.8, 0.18, 0.02))[0]

    def pause_for_a_moment(self) -> None:
        self.bench.queue.pause()
        time.sleep(0.02)
        for view in self.bench.queue.jobs():
            self.bench.queue.resume(view.id)

    def post(self, path: str, **body: object) -> None:
        answer = self.client.post(f"{PREFIX}/{path}", json=body)
        assert answer.status_code < 500, answer.text

    def tag(self) -> None:
        editor = self.session.opened()
        self.session.apply_now(editor.plan_tags(Add("hat"), "Add hat"))


def test_many_hands_at_once(tiny_host, tmp_path, monkeypatch):
    torch.set_num_threads(1)
    bench, set_ = Workbench(tiny_host), tmp_path / "set"
    hands = Hands(bench, set_)
    caption = set_ / "1_girl" / "0.txt"
    caption.write_text("girl, blue", encoding="utf-8")
    before, threads = bench.host.generate([PICTURE])[0].tobytes(), set(threading.enumerate())
    ended, surprises, done = Counter(), [], Counter()
    end, deadline = JobQueue._end, time.monotonic() + SECONDS

    def counted(queue: JobQueue, job, state: str) -> None:
        ended[job.id] += 1
        end(queue, job, state)

    def work(seed: int) -> None:
        chance = random.Random(seed)
        while time.monotonic() < deadline:
            try:
                chance.choice(hands.actions(chance))()
                done["done"] += 1
                time.sleep(chance.random() * PAUSE)
            except UserError:
                done["refused"] += 1
            except Exception:
                surprises.append(traceback.format_exc())

    monkeypatch.setattr(JobQueue, "_end", counted)
    workers = [threading.Thread(target=work, args=(seed,)) for seed in range(HANDS)]
    for thread in workers:
        thread.start()
    for thread in workers:
        thread.join()
    waiting = [view.id for view in bench.queue.jobs() if view.state == "waiting"]
    for job in waiting[2:]:  # two more are trained to their end
        bench.queue.cancel(job)
    for view in bench.queue.jobs():
        bench.queue.resume(view.id)
        assert bench.queue.wait(view.id, 60).ended
    assert not surprises, surprises[0]
    states = Counter(view.state for view in bench.queue.jobs())
    assert done["done"] > 50 and states["done"] > 0 and len(ended) > 3, (done, states)

    assert set(ended.values()) == {1} and set(ended) == set(range(1, bench.queue._last_id + 1))
    failed = [view for view in bench.queue.jobs() if view.state == "failed"]
    assert not [
        view.traceback for view in failed if "Traceback" in view.traceback and "UserError" not in view.traceback
    ]
    nothing_is_lost(bench, hands, caption)
    nothing_is_left(bench, tmp_path, threads)
    assert bench.host.generate([PICTURE])[0].tobytes() == before
    with bench.host.training_session() as model:
        assert not any(layer._forward_hooks or layer._forward_pre_hooks for layer in model.layers().values())
        assert not any(parameter.requires_grad for layer in model.layers().values() for parameter in layer.parameters())


def nothing_is_lost(bench: Workbench, hands: Hands, caption: Path) -> None:
    """Every run that is there can be read, and those that ended well have what they say."""
    for run in bench.runs.list():
        if run.status == "finished":
            assert read_lora(Path(run.result()["path"])).modules
        elif run.status == "stopped":
            assert StateSlots(run.state).position().step == run.result()["step"]
        steps = [row["step"] for row in run.metrics()]
        assert steps == list(range(1, len(steps) + 1))
    for file in bench.host.paths.loras.glob("*"):
        assert read_lora(file).modules
    editor = hands.session.open([hands.set])
    with pytest.raises(UserError, match="undo"):
        while True:
            editor.undo()
    assert caption.read_text(encoding="utf-8") == "girl, blue"


def nothing_is_left(bench: Workbench, root: Path, threads: set[threading.Thread]) -> None:
    """No thread, no lock, no temporary file."""
    until = time.monotonic() + 10
    while (left := set(threading.enumerate()) - threads) and time.monotonic() < until:
        time.sleep(0.05)
    assert not [thread for thread in left if "lora" in thread.name], left
    assert bench.host.gpu_lock._owner is None and not bench.host.gpu_lock.waiting()
    assert not [path for path in root.rglob("*") if path.suffix in (".part", ".lock")]
