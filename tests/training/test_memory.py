from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from lib_lora.errors import UserError
from lib_lora.hosts.standalone.host import StandaloneHost
from lib_lora.models.base import HostPaths
from lib_lora.training.config import TrainConfig
from lib_lora.training.memory import RESERVE, estimate, fitting_change
from lib_lora.training.preflight import preflight
from lib_lora.training.probe import bytes_on, probe
from tests.hosts.standalone.xl import random_xl_checkpoint
from tests.training.worlds import image_folder, small_config

CONFIG = TrainConfig(name="x", data_dir="y", rank=2, batch_size=3, resolution=128, max_tokens=75)


def measured_peak(work) -> int:
    """The most bytes that were allocated at once, by the profiler's record of every allocation."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        work()
    events = [e for e in record.profiler.kineto_results.events() if e.name() == "[memory]"]
    now = most = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        now += event.nbytes()
        most = max(most, now)
    return most


@pytest.mark.parametrize("changes", [{}, {"te_lr": 0.0}, {"gradient_checkpointing": True}], ids=str)
def test_the_estimate_is_what_a_step_keeps_and_takes(tiny_host, changes):
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
        costs = []
        peak = measured_peak(lambda: costs.append(probe(model, config, (128, 64), "a")))
    assert found == pytest.approx(costs[0].bytes, rel=0.1)
    assert found - costs[0].model_bytes == pytest.approx(peak, rel=0.25)


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
