"""Noise levels and schedules of kohya's and musubi-tuner's trainers for flows, and lowest rates."""

from __future__ import annotations

import pytest

from lib_lora.training.importers.report import IGNORED


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"timestep_sampling": "sigmoid", "sigmoid_scale": 1.5}, ("logit-normal", 0.0, 1.5, 1.0)),
        ({"timestep_sampling": "shift", "discrete_flow_shift": "2.5"}, ("logit-normal", 0.0, 1.0, 2.5)),
        ({}, ("uniform", 0.0, 1.0, 3.0)),
        ({"timestep_sampling": "flux_shift"}, ("logit-normal", 0.0, 1.0, 0.0)),
        ({"timestep_sampling": "uniform", "discrete_flow_shift": 3}, ("uniform", 0.0, 1.0, 1.0)),
        ({"weighting_scheme": "logit_normal", "logit_mean": 0.5, "logit_std": 2}, ("logit-normal", -0.5, 2.0, 3.0)),
        ({"timestep_sampling": "flux_shift", "sigmoid_scale": 0.5}, ("logit-normal", 0.0, 0.5, 0.0)),
        ({"weighting_scheme": "sigma_sqrt"}, ("uniform", 0.0, 1.0, 3.0)),
        ({"weighting_scheme": "mode"}, ("uniform", 0.0, 1.0, 1.0)),
        ({"training_shift": 2.0}, ("uniform", 0.0, 1.0, 3.0)),
        ({"timestep_sampling": "logsnr", "logit_mean": -6.0, "logit_std": 2.0}, ("logit-normal", 3.0, 1.0, 1.0)),
        ({"min_timestep": 200, "max_timestep": 800}, ("uniform", 0.0, 1.0, 3.0)),
    ],
)
def test_rectified_flow(imported, options, expected):
    flux = {"network_module": "networks.lora_flux", "min_snr_gamma": 5, "zero_terminal_snr": True, "noise_offset": 0.05}
    found = imported({**flux, **options})
    names = ("timestep_distribution", "timestep_a", "timestep_b", "flow_shift")
    assert tuple(found.values.get(name) for name in names) == expected
    assert not any(found.values[name] for name in ("min_snr_gamma", "zero_terminal_snr", "noise_offset"))
    assert (found.values["min_timestep"], found.values["max_timestep"]) == (0, 1000)  # Flux's trainer has no bounds
    left_out = {line.key for line in found.with_outcome(IGNORED) if line.text.startswith("Left out: a flow")}
    assert left_out == {"min_snr_gamma", "zero_terminal_snr", "noise_offset"}
    plain = imported({"network_module": "networks.lora", "min_snr_gamma": 5, **options})
    assert plain.values["timestep_distribution"] == "uniform" and plain.values["min_snr_gamma"] == 5


@pytest.mark.parametrize(
    ("module", "options", "expected"),
    [
        ("lumina", {}, ("logit-normal", 0.0, 1.0, 6.0)),
        ("lumina", {"timestep_sampling": "nextdit_shift"}, ("uniform", 0.0, 1.0, 0.0)),
        ("anima", {}, ("logit-normal", 0.0, 1.0, 1.0)),
        ("sd3", {}, ("uniform", 0.0, 1.0, 1.0)),
        ("sd3", {"weighting_scheme": "logit_normal", "logit_mean": 0.5, "training_shift": 3},
         ("logit-normal", 0.5, 1.0, 3.0)),
        ("sd3", {"timestep_sampling": "sigmoid", "discrete_flow_shift": 5}, ("uniform", 0.0, 1.0, 1.0)),
        ("zimage", {}, ("uniform", 0.0, 1.0, 1.0)),
    ],
)  # fmt: skip
def test_each_trainer_for_flows_has_its_own_usual_levels(imported, module, options, expected):
    found = imported({"network_module": f"networks.lora_{module}", "network_dim": 8, "max_timestep": 900, **options})
    names = ("timestep_distribution", "timestep_a", "timestep_b", "flow_shift")
    assert tuple(found.values.get(name) for name in names) == expected
    assert found.values["max_timestep"] == (900 if module in ("sd3", "zimage") else 1000)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"lr_scheduler": "cosine_with_min_lr", "lr_scheduler_min_lr_ratio": 0.1}, ("cosine", 0.1)),
        ({"lr_scheduler": "cosine_with_min_lr", "lr_scheduler_args": ["min_lr=1e-5"]}, ("cosine", 0.1)),
        ({"lr_scheduler": "cosine_with_min_lr", "lr_scheduler_args": ["min_lr_rate=0.05"]}, ("cosine", 0.05)),
        ({"lr_scheduler": "warmup_stable_decay", "lr_scheduler_min_lr_ratio": 0.2}, ("warmup_stable_decay", 0.2)),
        ({"lr_scheduler": "linear", "lr_scheduler_min_lr_ratio": 0.2}, ("linear", 0.0)),
        ({"lr_scheduler_type": "CosineAnnealingLR", "lr_scheduler_args": ["T_max=500", "eta_min=2e-5"]},
         ("cosine", 0.2)),
    ],
)  # fmt: skip
def test_the_lowest_rate(imported, options, expected):
    found = imported({"network_dim": 8, "learning_rate": 1e-4, "max_train_steps": 500, **options})
    assert (found.values["schedule"], pytest.approx(found.values["min_lr"])) == (expected[0], expected[1])
    assert bool(found.with_outcome(IGNORED)) == (expected == ("linear", 0.0))


def test_waves_of_a_cosine_are_named(imported):
    waves = {"lr_scheduler": "cosine_with_min_lr", "lr_scheduler_num_cycles": 3, "lr_scheduler_min_lr_ratio": 0.1}
    found = imported({"network_dim": 8, **waves})
    assert found.values["cycles"] == 1
    assert [line.key for line in found.with_outcome(IGNORED)] == ["lr_scheduler_num_cycles"]


PAGE = {"network_dim": 8, "epoch": 3, "discrete_flow_shift": 3.1, "timestep_sampling": "sigmoid", "sigmoid_scale": 2.0,
        "weighting_scheme": "logit_normal", "logit_mean": 0.5, "logit_std": 1.5, "lumina_discrete_flow_shift": 5.0,
        "lumina_timestep_sampling": "shift", "lumina_sigmoid_scale": 0.5, "anima_timestep_sampling": "uniform",
        "anima_discrete_flow_shift": 2.0}  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("Flux1", ("logit-normal", 0.0, 1.0, 1.0)),
        ("Lumina", ("logit-normal", 0.0, 0.5, 5.0)),
        ("Anima", ("uniform", 0.0, 1.0, 1.0)),
        ("SD3", ("logit-normal", 0.5, 1.5, 1.0)),
        ("Standard", ("uniform", 0.0, 1.0, 1.0)),
    ],
)
def test_the_page_has_fields_of_every_family_and_those_of_the_chosen_one_count(imported, kind, expected):
    found = imported({"LoRA_type": kind, **PAGE})
    names = ("timestep_distribution", "timestep_a", "timestep_b", "flow_shift")
    assert tuple(found.values[name] for name in names) == expected
    assert {line.key for line in found.lines} >= PAGE.keys()
