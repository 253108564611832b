"""Every optimizer and schedule on offer: they run, they learn, and they go on after a stop as if there were none."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest
import torch

from lib_lora.errors import UserError
from lib_lora.training.config import TrainConfig
from lib_lora.training.config_groups.optimizer import OPTIMIZERS, SCHEDULES
from lib_lora.training.optim import has_stopped, parameter_groups
from lib_lora.training.optimizer_state import optimizer_state, restore_optimizer
from lib_lora.training.optimizers import RECIPES, parse_arguments
from lib_lora.training.weight_norms import limit_weight_norms
from tests.training.toy import OTHER, TEXT, UNET, Toy

BASE = TrainConfig(name="x", data_dir="y", unet_lr=1e-3, te_lr=1e-3, schedule="constant", weight_decay=0.01)


def config_for(optimizer: str, **changes) -> TrainConfig:
    rate = 1.0 if RECIPES[optimizer].finds_rate else 0.1 if "SGD" in optimizer else 3e-3
    return replace(BASE, optimizer=optimizer, unet_lr=rate, te_lr=rate, **changes)


def with_schedule(name: str) -> dict:
    warmup = {} if name == "constant" else {"warmup": 0.25}
    return {"schedule": name, "cycles": 2, "cycle_decay": 0.5, "min_lr": 0.01, **warmup}


def test_every_choice_has_a_recipe():
    assert set(OPTIMIZERS) == set(RECIPES)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_pair_runs_exactly_n_steps(optimizer):
    for schedule in SCHEDULES:
        toy = Toy(config_for(optimizer, **with_schedule(schedule)).check())
        rates = toy.train(0, 4, 4)
        assert len(rates) == 4 and all(0 < rate < 2 for rate in rates), schedule
        weights = toy.weights()
        assert all(torch.isfinite(tensor).all() for tensor in weights.values()), schedule
        if optimizer != "ScheduleFreeRAdam":  # its first five steps gather moments only
            assert weights[f"{UNET}.lora_up.weight"].abs().max() > 0, schedule


@pytest.mark.parametrize("ema", [0.0, 0.9])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_resume_is_bit_exact_for_every_optimizer(optimizer, ema, tmp_path):
    config = config_for(optimizer, ema_decay=ema, **with_schedule("cosine"))
    assert_resumes(config, tmp_path)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_resume_is_bit_exact_for_every_schedule(schedule, tmp_path):
    assert_resumes(config_for("AdamW", **with_schedule(schedule)), tmp_path)


def assert_resumes(config, folder):
    whole, stopped, resumed = Toy(config), Toy(config), Toy(config)
    rates = whole.train(0, 6, 6)
    assert stopped.train(0, 3, 6) == rates[:3]
    stopped.save(folder, 3)
    assert resumed.load(folder) == 3
    assert resumed.train(3, 6, 6) == rates[3:]
    expected, found = whole.weights(), resumed.weights()
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_defaults_learn(optimizer):
    steps = 160 if RECIPES[optimizer].finds_rate else 40
    toy = Toy(config_for(optimizer))
    with torch.no_grad():
        before = sum(toy.loss(i).item() for i in range(4))
    toy.train(0, steps, steps)
    # the relative step is a share of the weights, which begin at 0: it is slow at first
    goal = 1.0 if RECIPES[optimizer].own_rate else 0.95
    with torch.no_grad(), toy.averaging.shown():
        assert sum(toy.loss(i).item() for i in range(4)) < goal * before


class NotHere(torch.optim.AdamW):
    """A torch that has no fused kernel for the device."""

    def __init__(self, params, fused=None, **arguments):
        if fused:
            raise RuntimeError("`fused=True` requires all the params to be floating point Tensors of supported devices")
        super().__init__(params, fused=fused, **arguments)


@pytest.mark.parametrize("optimizer", ["AdamW", "SGD"])
def test_one_kernel_makes_the_step_where_torch_has_it(optimizer):
    group = Toy(config_for(optimizer)).optimizer.param_groups[0]
    assert group["fused"] and not group["foreach"]
    group = Toy(config_for(optimizer, optimizer_args="foreach=True")).optimizer.param_groups[0]
    assert group["foreach"] and not group["fused"]
    group = Toy(config_for(optimizer, optimizer_args="fused=False")).optimizer.param_groups[0]
    assert not group["fused"]


def test_without_that_kernel_the_steps_are_the_same_to_rounding(monkeypatch):
    fused, plain = Toy(config_for("AdamW")), Toy(config_for("AdamW", optimizer_args="foreach=True"))
    monkeypatch.setattr(torch.optim, "AdamW", NotHere)
    elsewhere = Toy(config_for("AdamW"))
    assert elsewhere.optimizer.param_groups[0]["foreach"]
    for toy in (fused, plain, elsewhere):
        toy.train(0, 6, 6)
    for name, tensor in plain.weights().items():
        assert torch.equal(elsewhere.weights()[name], tensor)
        assert torch.allclose(fused.weights()[name], tensor, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("backup", ["fused", "foreach"])
def test_a_backup_goes_on_where_the_kernel_is_another(backup, monkeypatch, tmp_path):
    stopped = Toy(config_for("AdamW", optimizer_args="" if backup == "fused" else "foreach=True"))
    stopped.train(0, 3, 6)
    stopped.save(tmp_path, 3)
    if backup == "fused":
        monkeypatch.setattr(torch.optim, "AdamW", NotHere)
    resumed = Toy(config_for("AdamW"))
    assert resumed.load(tmp_path) == 3
    assert resumed.optimizer.param_groups[0]["foreach"]  # the one it can do; the one it was begun with
    resumed.train(3, 6, 6)
    stopped.train(3, 6, 6)
    for name, tensor in stopped.weights().items():
        assert torch.allclose(resumed.weights()[name], tensor, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("fused", [True, False])
def test_a_fused_kernel_counts_its_steps_beside_the_parameters(fused):
    toy = Toy(config_for("AdamW"))
    toy.train(0, 1, 2)
    state = optimizer_state(toy.network, toy.optimizer)
    for adapter in toy.network.adapters.values():
        adapter.to("meta")
    elsewhere = torch.optim.AdamW(toy.network.parameters())
    elsewhere.param_groups[0]["fused"] = fused  # torch has no such kernel for this device
    restore_optimizer(toy.network, elsewhere, state[0], {} if fused else state[1])
    kept = elsewhere.state[toy.network.parameters()[0]]
    assert kept["exp_avg"].is_meta and kept["step"].is_meta == fused


def test_eight_bit_states_are_eight_bit():
    toy = Toy(config_for("AdamW8bit"))
    toy.train(0, 1, 1)
    assert any(state["state1"].dtype == torch.uint8 for state in toy.optimizer.state.values())


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "bitsandbytes.optim", None)
    with pytest.raises(UserError, match=r"AdamW8bit needs the package bitsandbytes.*Choose AdamW"):
        Toy(config_for("AdamW8bit"))


def test_own_arguments():
    assert parse_arguments("d_coef=2 decouple=True betas=(0.9,0.99)") == {
        "d_coef": 2, "weight_decouple": True, "betas": (0.9, 0.99),
    }  # fmt: skip
    assert Toy(config_for("Prodigy", optimizer_args="d_coef=2")).optimizer.param_groups[0]["d_coef"] == 2
    for bad, message in (("d_coef", "no argument"), ("d_coef=two", "no argument"), ("d_chef=2", "d_chef.*d_coef")):
        with pytest.raises(UserError, match=message) as caught:
            Toy(config_for("Prodigy", optimizer_args=bad))
        assert caught.value.where == "optimizer_args"


def rates_by_parameter(config) -> dict[str, float]:
    toy = Toy(config)
    names = {parameter: name for name, parameter in named(toy)}
    return {names[p]: group["lr"] for group in parameter_groups(toy.network, config) for p in group["params"]}


def named(toy):
    return [(f"{key}.{n}", p) for key, adapter in toy.network.adapters.items() for n, p in adapter.named_parameters()]


def test_lora_plus_raises_the_up_projections():
    rates = rates_by_parameter(replace(BASE, loraplus_ratio=4.0, loraplus_te_ratio=2.0, te_lr=1e-4))
    assert rates[f"{UNET}.up"] == pytest.approx(4e-3) and rates[f"{UNET}.down"] == pytest.approx(1e-3)
    assert rates[f"{TEXT}.up"] == pytest.approx(2e-4) and rates[f"{TEXT}.down"] == pytest.approx(1e-4)


def test_rates_per_block():
    vector = ",".join(["1", "0.5", *["1"] * 6, "0", *["1"] * 8])  # 17 blocks: BASE, IN01 = 0.5, …, OUT03 = 0, …
    config = replace(BASE, block_lr=vector)
    rates = rates_by_parameter(config)
    assert rates[f"{UNET}.up"] == pytest.approx(0.5e-3) and rates[f"{TEXT}.up"] == pytest.approx(1e-3)
    assert f"{OTHER}.up" not in rates
    toy = Toy(config)
    toy.train(0, 2, 2)
    assert toy.network.adapters[OTHER].up.abs().max() == 0 and toy.network.adapters[OTHER].up.grad is None


@pytest.mark.parametrize("optimizer", ["AdamW", "Prodigy", "ScheduleFreeAdamW"])
def test_a_part_stops_after_its_epochs(optimizer):
    config = config_for(optimizer, epochs=4, stop_te_after=2)
    toy = Toy(config)
    toy.train(0, 4, 8)
    before = [p.detach().clone() for p in toy.network.parameters("te")]
    moved = [p.detach().clone() for p in toy.network.parameters("unet")]
    toy.train(4, 8, 8)
    assert all(torch.equal(a, b) for a, b in zip(before, toy.network.parameters("te"), strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(moved, toy.network.parameters("unet"), strict=True))
    assert [has_stopped(config, "te", step, 2) for step in range(8)] == [False] * 4 + [True] * 4
    assert not has_stopped(config, "unet", 7, 2)


def test_stopping_everything_is_refused():
    with pytest.raises(UserError, match="stop before the last epoch"):
        replace(BASE, stop_te_after=2, stop_unet_after=3).check()
    replace(BASE, stop_te_after=2, stop_unet_after=10).check()


def test_moving_average():
    toy = Toy(config_for("SGD", ema_decay=0.5))
    seen = []
    for step in range(4):
        toy.train(step, step + 1, 4)
        seen.append(toy.network.adapters[UNET].up.detach().double().clone())
    expected = torch.zeros_like(seen[0])
    for step, weight in enumerate(seen, 1):
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * weight
    with toy.averaging.shown():
        assert torch.allclose(toy.network.adapters[UNET].up.double(), expected, atol=1e-7)
    assert torch.equal(toy.network.adapters[UNET].up.double(), seen[-1])


@pytest.mark.parametrize("optimizer", ["ScheduleFreeAdamW", "ScheduleFreeRAdam", "ScheduleFreeSGD"])
def test_looking_at_the_average_changes_nothing(optimizer):
    looked, left = Toy(config_for(optimizer)), Toy(config_for(optimizer))
    for step in range(12):
        looked.train(step, step + 1, 12)
        trained = looked.network.state_tensors()
        averaged = looked.weights()
    left.train(0, 12, 12)
    assert any(not torch.equal(averaged[name], trained[name]) for name in trained)
    found, expected = looked.network.state_tensors(), left.network.state_tensors()
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())


def test_weight_norms_are_limited():
    toy = Toy(BASE)
    for parameter in toy.network.parameters():
        torch.nn.init.normal_(parameter)
    small = toy.network.adapters[OTHER]
    with torch.no_grad():
        small.up.mul_(0.01)
    kept, directions = small.up.detach().clone(), toy.network.adapters[UNET].delta().dense()
    limit_weight_norms(toy.network, 1.5)
    after = toy.network.adapters[UNET].delta()
    assert after.norm() == pytest.approx(1.5, rel=1e-5)
    assert torch.allclose(after.dense() / 1.5, directions / directions.norm(), atol=1e-5)
    assert torch.equal(small.up, kept)
