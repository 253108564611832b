"""*Test this card*: a process of its own on the double of a card, and what becomes of the model meanwhile."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import pytest
import torch

from lib_lora.demo.architecture import random_checkpoint
from lib_lora.hosts.standalone.host import StandaloneHost
from lib_lora.jobs import card_job
from lib_lora.jobs.card_job import CardJob, why_not
from lib_lora.jobs.queue import JobQueue
from lib_lora.models.base import HostPaths
from lib_lora.ui.card_panel import CardPanel
from lib_lora.workbench import Workbench

WAIT = 300
DOUBLE = """
import json
from dataclasses import replace
from tests.card import CARD, insert
insert()
from bench.card import run
from bench.card.models import TINY
one = replace(TINY, models={}, precisions=("bf16",), checks=(), variants=("",))
print(json.dumps(run(CARD, one)))
"""
FOREVER = "import time; print('a row', flush=True); time.sleep(600)"
SAYS_NOTHING = "print('a warning')"
FAILS = "print('a row'); raise SystemExit('the driver is too old')"


@pytest.fixture
def host(tmp_path: Path) -> StandaloneHost:
    paths = HostPaths(*(tmp_path / name for name in ("loras", "checkpoints", "runs", "data")))
    random_checkpoint(paths.checkpoints / "tiny.safetensors", seed=3)
    host = StandaloneHost(paths, device="cpu")
    host.load("tiny")
    return host


def job(queue: JobQueue, program: str) -> int:
    return queue.submit(CardJob(queue, (sys.executable, "-c", program)))


def test_the_table_is_there_and_the_model_is_back(host: StandaloneHost) -> None:
    queue, before = JobQueue(host), host._loaded().hashes()
    view = queue.wait(job(queue, DOUBLE), WAIT)
    assert view.state == "done", view.error
    assert view.found is not None and view.found["rows"][0]["tflops"] > 0
    assert "matrix product" in view.lines[-1] and not any(line.startswith("{") for line in view.lines)
    assert host._loaded().hashes() == before
    kept = json.loads(host.paths.places.card.read_text(encoding="utf-8"))
    assert kept["lines"] == list(view.lines) and view.lines[-1] in CardPanel(Workbench(host)).shown(None)


def test_a_cancel_ends_the_process_and_an_error_is_told(host: StandaloneHost) -> None:
    queue = JobQueue(host)
    running = job(queue, FOREVER)
    while not queue.view(running).note.startswith("a row"):
        assert not queue.view(running).ended
        time.sleep(0.05)
    assert host.info() is None  # its memory is the test's
    queue.cancel(running)
    assert queue.wait(running, WAIT).state == "cancelled" and host.info() is not None
    view = queue.wait(job(queue, FAILS), WAIT)
    assert view.state == "failed" and "the driver is too old" in view.error["what"]
    view = queue.wait(job(queue, SAYS_NOTHING), WAIT)
    assert view.state == "failed" and "a warning" in view.error["what"]
    assert host.info() is not None and not host.paths.places.card.exists()


def test_where_it_cannot_be_done_the_page_says_why(host: StandaloneHost, monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in ("cuda", "xpu", "mps"):
        monkeypatch.setattr(f"torch.{kind}.is_available", lambda: False)
    assert "no graphics card" in str(why_not())
    panel = CardPanel(Workbench(host))
    with pytest.raises(Exception, match="no graphics card"):
        panel.start()
    monkeypatch.setattr(card_job, "first_card", lambda: torch.device("cuda", 0))
    assert why_not() is None
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "diffusers, which this web UI does not have" in str(why_not())
    assert panel.now()[2]["interactive"] and not panel.now()[3]["interactive"]
