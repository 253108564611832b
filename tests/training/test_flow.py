"""Rectified flow: draws of times, the loss, and a run on a model that predicts one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from lib_lora.adapters import read_metadata
from lib_lora.dataset.batches import MicroBatch
from lib_lora.models.schedule import (
    FlowSchedule,
    NoiseSchedule,
    resolution_shift,
    scaled_linear_alphas,
    shifted,
    zero_terminal_alphas,
)
from lib_lora.training.config import TrainConfig
from lib_lora.training.denoiser import Denoiser
from lib_lora.training.events import EpochDone, Warned
from lib_lora.training.noise import NoiseDraw, draw_noise
from lib_lora.training.run_store import RunStore
from lib_lora.training.timesteps import flow_density, flow_times
from lib_lora.training.trainer import Trainer
from tests.training.worlds import image_folder, small_config

PLAIN = TrainConfig(seed=3, min_snr_gamma=0.0)
LATENTS = torch.zeros(2000, 4, 32, 48)


class Straight:
    """A model that says what it is told."""

    family, prediction, dtype = "sd1", "flow", torch.float32
    schedule = FlowSchedule()

    def encode_text(self, captions: list[str], **_: Any) -> Tensor:
        return torch.zeros(len(captions), 77, 8)

    def predict(self, x_t: Tensor, t: Tensor, cond: Tensor) -> Tensor:
        return torch.sin(x_t) + t.reshape(-1, 1, 1, 1) / 500


@pytest.mark.parametrize(
    ("changes", "shift"),
    [
        ({}, 1.0),
        ({"flow_shift": 3.0}, 3.0),
        ({"flow_shift": 0.0}, resolution_shift(32 * 48 // 4)),
        ({"flow_shift": 2.5, "timestep_distribution": "logit-normal"}, 2.5),
        ({"flow_shift": 2.0, "min_timestep": 200, "max_timestep": 700}, 2.0),
    ],
)
def test_draws_follow_the_density(changes: dict[str, Any], shift: float) -> None:
    config = replace(PLAIN, **changes)
    drawn = torch.cat([flow_times(LATENTS, 1000, config, step) for step in range(10)])
    expected = flow_density(config, 1000, 32, 48)
    assert expected.sum() == pytest.approx(1)
    found = torch.bincount(drawn.long(), minlength=1000).double() / len(drawn)
    assert (found.cumsum(0) - expected.cumsum(0)).abs().max() < 0.015  # Kolmogorov–Smirnov, 20,000 draws
    assert (drawn != drawn.round()).any()
    if not {"min_timestep", "timestep_distribution"} & changes.keys():  # closed form: σ = s·u / (1 + (s − 1)·u)
        sigma = torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)
        share = torch.tensor([(drawn < 1000 * s).double().mean() for s in sigma])
        assert torch.allclose(share, sigma / (shift - (shift - 1) * sigma), atol=0.015)
    assert torch.equal(flow_times(LATENTS, 1000, config, 4), flow_times(LATENTS, 1000, config, 4))


def test_shifts_are_the_published_ones() -> None:
    assert resolution_shift(256) == pytest.approx(1.6487, abs=1e-4)  # e^0.5
    assert resolution_shift(4096) == pytest.approx(3.1582, abs=1e-4)  # e^1.15
    assert shifted(torch.tensor(0.5), 3.0).item() == pytest.approx(0.75)


def test_the_loss_is_the_plain_mean_square() -> None:
    model = Straight()
    latents = torch.randn(3, 4, 6, 8, generator=torch.Generator().manual_seed(0))
    batch = MicroBatch(latents, ["a"] * 3, [], torch.ones(3), torch.zeros(3, 6))
    denoiser = Denoiser(model, PLAIN)  # type: ignore[arg-type]
    drawn = draw_noise(latents, denoiser.config, denoiser.schedule, 7)
    found = denoiser.loss(batch, drawn)
    x0, noise, sigma = latents.double(), drawn.noise.double(), drawn.t.double().reshape(-1, 1, 1, 1) / 1000
    said = torch.sin((1 - sigma) * x0 + sigma * noise) + sigma * 2
    assert torch.allclose(found.double(), (said - (noise - x0)).square().mean(dim=(1, 2, 3)), rtol=1e-5)


def test_what_has_no_meaning_is_left_out_and_told() -> None:
    config = replace(PLAIN, min_snr_gamma=5.0, noise_offset=0.1, zero_terminal_snr=True, ip_noise_gamma=0.1)
    model = Straight()
    denoiser = Denoiser(model, config)  # type: ignore[arg-type]
    latents = torch.randn(2, 4, 6, 6)
    plain, ours = (draw_noise(latents, c, model.schedule, 1) for c in (PLAIN, denoiser.config))
    assert torch.equal(plain.noise, ours.noise) and ours.added is ours.noise
    batch = MicroBatch(latents, ["a"] * 2, [], torch.ones(2), torch.zeros(2, 6))
    unweighted = Denoiser(model, PLAIN).loss(batch, plain)  # type: ignore[arg-type]
    assert torch.equal(denoiser.loss(batch, ours), unweighted)
    assert [note.split(" is left out")[0] for note in denoiser.notes] == [
        "Noise offset", "Input perturbation", "Zero terminal SNR", "Min-SNR gamma",
    ]  # fmt: skip


@pytest.mark.parametrize("kind", ["huber", "smooth_l1"])
@pytest.mark.parametrize("schedule", ["snr", "exponential", "constant"])
def test_other_losses_are_finite_everywhere(kind: str, schedule: str) -> None:
    denoiser = Denoiser(Straight(), replace(PLAIN, loss_type=kind, huber_schedule=schedule))  # type: ignore[arg-type]
    latents = torch.randn(3, 4, 4, 4)
    batch = MicroBatch(latents, ["a"] * 3, [], torch.ones(3), torch.zeros(3, 6))
    noise = torch.randn(3, 4, 4, 4)
    losses = denoiser.loss(batch, NoiseDraw(torch.tensor([0.0, 500.5, 999.99]), noise, noise))
    assert torch.isfinite(losses).all() and (losses > 0).all()


def test_a_run_on_a_flow(tiny_host, tmp_path) -> None:  # type: ignore[no-untyped-def]
    torch.set_num_threads(1)
    tiny_host._model.prediction, tiny_host._model.schedule = "flow", FlowSchedule()
    changes = {"epochs": 2, "min_snr_gamma": 5.0, "flow_shift": 2.0, "fixed_loss_images": 6, "rank": 8, "alpha": 8.0}
    run = RunStore(tiny_host.paths.runs).create(small_config(image_folder(tmp_path / "set"), **changes))
    with tiny_host.training_session() as model:
        events = list(Trainer(run, model, tiny_host.paths).run())
    losses = [event.fixed_loss for event in events if isinstance(event, EpochDone)]
    assert losses[1] < losses[0]
    told = [event.message for event in events if isinstance(event, Warned)]
    assert any("Min-SNR gamma is left out" in message for message in told)
    metadata = read_metadata(tiny_host.paths.loras / "mira.safetensors")
    assert metadata["ss_base_model_version"] == "sd_v1" and "modelspec.prediction_type" not in metadata


@pytest.mark.parametrize("schedule", [NoiseSchedule(), NoiseSchedule(zero_terminal_alphas(scaled_linear_alphas()))])
def test_the_file_says_what_the_models_own_schedule_was(tiny_host, tmp_path, schedule) -> None:  # type: ignore[no-untyped-def]
    torch.set_num_threads(1)
    tiny_host._model.schedule = schedule
    config = small_config(image_folder(tmp_path / "set"), epochs=1, fixed_loss_images=0, te_lr=0.0)
    with tiny_host.training_session() as model:
        list(Trainer(RunStore(tiny_host.paths.runs).create(config), model, tiny_host.paths).run())
    said = read_metadata(tiny_host.paths.loras / "mira.safetensors")["ss_zero_terminal_snr"]
    assert said == str(schedule.zero_terminal)
