"""Sampling a rectified flow, and telling one from its checkpoint."""

from __future__ import annotations

import pytest
import torch

from lib_lora.hosts.standalone.checkpoint import _prediction
from lib_lora.hosts.standalone.samplers import FlowEuler, make_scheduler


def test_a_straight_flow_is_followed_exactly() -> None:
    x0, noise = torch.randn(2, 4, 5, 5), torch.randn(2, 4, 5, 5)
    scheduler = make_scheduler("Euler", "flow")
    assert isinstance(scheduler, FlowEuler)
    scheduler.set_timesteps(7, torch.device("cpu"))
    x = noise * scheduler.init_noise_sigma
    for t in scheduler.timesteps:
        sigma = t / 1000
        assert torch.allclose(x, (1 - sigma) * x0 + sigma * noise, atol=1e-5)
        x = scheduler.step(noise - x0, t, scheduler.scale_model_input(x, t)).prev_sample
    assert torch.allclose(x, x0, atol=1e-5)


def test_a_shift_begins_and_ends_where_it_did() -> None:
    scheduler = FlowEuler(shift=3.0)
    scheduler.set_timesteps(4, torch.device("cpu"))
    assert scheduler.timesteps.tolist() == pytest.approx([1000, 900, 750, 500])
    assert scheduler.sigmas[-1] == 0


@pytest.mark.parametrize(
    ("names", "side_car", "prediction"),
    [
        ((), {}, "epsilon"),
        (("v_pred",), {}, "v"),
        (("rectified_flow",), {}, "flow"),
        ((), {"parameterization": "flow"}, "flow"),
        ((), {"parameterization": "v"}, "v"),
    ],
)
def test_what_a_checkpoint_predicts(names: tuple[str, ...], side_car: dict[str, str], prediction: str) -> None:
    assert _prediction(dict.fromkeys(names, torch.zeros(())), side_car) == prediction
