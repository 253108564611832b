"""The miniature tuned to rectified flow: made from a small file, loaded, and trained."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from lib_lora import demo
from lib_lora.demo.difference import LEVELS, STEP, added, difference
from lib_lora.demo.flow import write_flow
from lib_lora.demo.tour.datasets import character_caption, character_specs, write_dataset
from lib_lora.hosts.standalone.host import StandaloneHost
from lib_lora.models.base import HostPaths
from lib_lora.training.config import TrainConfig
from lib_lora.training.events import EpochDone
from lib_lora.training.presets import MINIATURE, preset
from lib_lora.training.run_store import RunStore
from lib_lora.training.trainer import Trainer


def test_a_difference_gives_the_tuned_weights_back():
    generator = torch.Generator().manual_seed(2)
    base = {
        name: torch.randn(shape, generator=generator).half()
        for name, shape in (("matrix", (8, 6)), ("kernel", (4, 3, 3, 3)), ("bias", (5,)), ("still", (3, 3)))
    }
    tuned = {
        name: t.float() + (name != "still") * 0.1 * torch.randn(t.shape, generator=generator)
        for name, t in base.items()
    }
    tuned["matrix"][2] = base["matrix"][2].float()  # a row that stays
    stored = difference({**tuned, "elsewhere": torch.ones(2)}, base)
    assert set(stored) == {"matrix", "matrix" + STEP, "kernel", "kernel" + STEP, "bias"}
    assert stored["kernel"].dtype == torch.int8
    again = added(stored, base)
    assert torch.equal(again["still"], base["still"]) and torch.equal(again["matrix"][2], base["matrix"][2])
    for name, wanted in tuned.items():
        most = 0.0 if name == "still" else float((wanted - base[name].float()).abs().max())
        assert again[name].dtype == torch.float16
        assert (again[name].float() - wanted).abs().max() <= most / (2 * LEVELS) + 2e-3, name


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    root = tmp_path_factory.mktemp("flow")
    write_flow(root / "checkpoints")
    host = StandaloneHost(HostPaths(root / "loras", root / "checkpoints", root / "runs", root / "data"))
    host.load(demo.FLOW)
    return host


def test_it_is_a_flow_and_a_second_call_leaves_it_alone(host):
    assert host.info().prediction == "flow" and host.info().family == "sd1"
    path = host.checkpoint_path(demo.FLOW)
    before = path.stat().st_mtime_ns
    assert write_flow(path.parent) == path and path.stat().st_mtime_ns == before


def test_training_it_learns(host, tmp_path):
    torch.set_num_threads(1)
    specs = character_specs(4)
    write_dataset(tmp_path / "mira", specs, [character_caption(spec) for spec in specs])
    plain = TrainConfig(name="mira", data_dir=str(tmp_path / "mira"), trigger="mira", sample_every_n_epochs=0)
    config = replace(
        preset(MINIATURE).applied_to(plain), resolution=64, epochs=3, repeats="2", fixed_loss_images=2,
        fixed_loss_timesteps=2,
    )  # fmt: skip
    with host.training_session() as model:
        run = RunStore(host.paths.runs).create(config)
        events = list(Trainer(run, model, host.paths).run())
    losses = [event.fixed_loss for event in events if isinstance(event, EpochDone)]
    assert losses == sorted(losses, reverse=True) and losses[-1] < 0.975 * losses[0], losses
