from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context

import pytest
import torch
from torch.profiler import ProfilerActivity, profile, record_function

from lib_lora.errors import UserError
from lib_lora.hosts.standalone.host import StandaloneHost
from lib_lora.models.base import HostPaths
from lib_lora.training.config import TrainConfig
from lib_lora.training.events import StepDone
from lib_lora.training.memory import RESERVE, estimate, fitting_change
from lib_lora.training.preflight import preflight
from lib_lora.training.probe import bytes_on, probe
from lib_lora.training.run_store import RunStore
from lib_lora.training.trainer import Trainer
from tests.hosts.standalone.xl import random_xl_checkpoint
from tests.training.memory_worker import said_and_held
from tests.training.resume_worker import host_paths
from tests.training.worlds import image_folder, small_config

CONFIG = TrainConfig(name="x", data_dir="y", rank=2, batch_size=3, resolution=128, max_tokens=75)
STEPS = "steps"  # a mark in the profiler's record, from which on the steps count


def measured_peak(work: Callable[[], object]) -> int:
    """The most bytes that were allocated at once since the mark, by the profiler's record of every allocation."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        work()
    events = record.profiler.kineto_results.events()
    begin = next(event.start_ns() for event in events if event.name() == STEPS)
    now = most = 0
    for event in sorted((e for e in events if e.name() == "[memory]"), key=lambda event: event.start_ns()):
        now += event.nbytes()
        if event.start_ns() >= begin:
            most = max(most, now)
    return most


@pytest.mark.parametrize(("family", "changes"), [
    ("sd1", {"rank": 16, "ema_decay": 0.9}), ("sd1", {"gradient_checkpointing": True}),
    ("sdxl", {"te_lr": 0.0, "trigger": "", "dora": True}),
], ids=str)  # fmt: skip
def test_the_steps_of_a_run_take_what_check_says(family, changes, tiny_checkpoint, tmp_path):
    """Within 25 %, as tensors are counted on a card; what encodes pictures before is not a step."""
    checkpoint = tiny_checkpoint if family == "sd1" else random_xl_checkpoint(tmp_path / "xl.safetensors")
    host = StandaloneHost(host_paths(tmp_path, checkpoint), device="cpu")
    host.load(checkpoint.stem)
    config = small_config(image_folder(tmp_path / "set"), optimizer="AdamW", fixed_loss_images=0, **changes)
    with host.training_session() as model:
        check = preflight(config, model, host.paths)
        trainer = Trainer(RunStore(host.paths.runs).create(config), model, host.paths)

        def three_steps() -> None:
            steps = (event for event in trainer.run() if isinstance(event, StepDone))
            next(steps)
            with record_function(STEPS):
                next(steps), next(steps)

        peak = measured_peak(three_steps)
    assert check.bytes - check.model_bytes == pytest.approx(peak, rel=0.25)


def test_a_process_holds_what_check_says(tiny_checkpoint, tmp_path):
    """Within 25 %, in a process that does nothing else: Python, torch, the model and what is freed and kept."""
    settings = [{"rank": 16, "gradient_checkpointing": True, "te_lr": 0.0}, {"batch_size": 4, "resolution": 128}]
    with ProcessPoolExecutor(1, get_context("spawn")) as one:
        found = one.submit(said_and_held, tmp_path, tiny_checkpoint, settings).result()
    for said, held in found:
        assert said == pytest.approx(held, rel=0.25)


@pytest.mark.parametrize("changes", [{}, {"te_lr": 0.0}, {"gradient_checkpointing": True}], ids=str)
def test_the_estimate_is_what_a_step_of_that_size_takes(tiny_host, changes):
    """Checkpointing too, which needs at once what a whole block keeps: it was forgotten once."""
    check_estimate(tiny_host, replace(CONFIG, **changes))


@pytest.mark.parametrize("checkpointing", [False, True])
def test_the_estimate_of_sdxl(tmp_path, checkpointing):
    random_xl_checkpoint(tmp_path / "xl.safetensors")
    host = StandaloneHost(HostPaths(tmp_path / "loras", tmp_path, tmp_path / "runs", tmp_path / "data"))
    host.load("xl")
    check_estimate(host, replace(CONFIG, gradient_checkpointing=checkpointing))


def check_estimate(host, config):
    torch.set_num_threads(1)
    with host.training_session() as model:
        found = estimate(model, config, (128, 64), "a")
        assert found == pytest.approx(probe(model, config, (128, 64), "a").bytes, rel=0.1)


def test_the_first_change_that_fits_is_proposed(tiny_host):
    config, size = replace(CONFIG, batch_size=4, resolution=320), (128, 128)
    with tiny_host.training_session() as model:
        needed = {
            name: estimate(model, replace(config, **changes), size) * RESERVE
            for name, changes in (
                ("checkpointing", {"gradient_checkpointing": True}),
                ("half", {"batch_parts": 2, "gradient_checkpointing": True}),
            )
        }
        checkpointed = replace(config, gradient_checkpointing=True)
        assert fitting_change(model, config, size, None) == "Switch on gradient checkpointing"
        limit = round(needed["checkpointing"]) + 1
        assert fitting_change(model, config, size, limit) == "Switch on gradient checkpointing"
        text = fitting_change(model, checkpointed, size, round(needed["half"]) + 1)
        assert text == "Set the parts of a batch to 2, for the same result"
        assert "may still not be enough" in fitting_change(model, checkpointed, size, 1)


def test_checkpointing_some_blocks_lies_between_none_and_all(tiny_host):
    config = replace(CONFIG, gradient_checkpointing=True, batch_size=1)
    outer = replace(config, checkpoint_blocks="IN01-IN02 OUT09-OUT11")
    with tiny_host.training_session() as model:
        plain, some, whole = (
            probe(model, c, (128, 128)).bytes for c in (replace(config, gradient_checkpointing=False), outer, config)
        )
        assert whole < some < plain
        assert fitting_change(model, outer, (128, 128), None) == "Checkpoint all blocks"
    with pytest.raises(UserError, match="IN99") as caught:
        replace(outer, checkpoint_blocks="IN99").check()
    assert caught.value.where == "checkpoint_blocks"


def test_what_does_not_fit_is_said_before_it_is_tried(tiny_host, tmp_path, monkeypatch):
    monkeypatch.setattr("lib_lora.training.preflight.capacity", lambda device: 1000)
    with tiny_host.training_session() as model, pytest.raises(Exception, match="would need about") as caught:
        preflight(small_config(image_folder(tmp_path / "set")), model, tiny_host.paths)
    assert caught.value.fix


def test_weights_that_wait_elsewhere_are_not_counted():
    here, elsewhere = torch.nn.Linear(3, 5), torch.nn.Linear(7, 11, device="meta")
    layers = {"a": here, "the same again": here, "b": elsewhere}
    assert bytes_on(torch.device("cpu"), layers) == 4 * (3 * 5 + 5)
    assert bytes_on(torch.device("meta"), layers) == 4 * (7 * 11 + 11)
