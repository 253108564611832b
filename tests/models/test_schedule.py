from __future__ import annotations

import torch

from lib_lora.models.schedule import NoiseSchedule


def test_schedule_is_that_of_stable_diffusion():
    from diffusers import DDPMScheduler

    theirs = DDPMScheduler(1000, 0.00085, 0.012, "scaled_linear").alphas_cumprod
    torch.testing.assert_close(NoiseSchedule().alphas_cumprod, theirs, rtol=1e-5, atol=1e-7)


def test_noise_and_velocity_agree_with_diffusers():
    from diffusers import DDPMScheduler

    theirs = DDPMScheduler(1000, 0.00085, 0.012, "scaled_linear")
    generator = torch.Generator().manual_seed(0)
    x0, noise = (torch.randn(3, 4, 2, 2, generator=generator) for _ in range(2))
    t = torch.tensor([0, 500, 999])
    ours = NoiseSchedule()
    torch.testing.assert_close(ours.add_noise(x0, noise, t), theirs.add_noise(x0, noise, t), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(ours.velocity(x0, noise, t), theirs.get_velocity(x0, noise, t), rtol=1e-4, atol=1e-5)


def test_target_is_the_noise_or_the_velocity():
    schedule, generator = NoiseSchedule(), torch.Generator().manual_seed(1)
    x0, noise = (torch.randn(2, 4, 2, 2, generator=generator) for _ in range(2))
    t = torch.tensor([10, 900])
    assert torch.equal(schedule.target("epsilon", x0, noise, t), noise)
    assert torch.equal(schedule.target("v", x0, noise, t), schedule.velocity(x0, noise, t))


def test_snr_falls_and_matches_its_definition():
    schedule = NoiseSchedule()
    snr = schedule.snr(torch.arange(len(schedule)))
    alphas = schedule.alphas_cumprod
    assert (snr.diff() < 0).all()
    torch.testing.assert_close(snr, alphas / (1 - alphas))
