"""Stage 4: the committed miniature's U-Net, tuned to rectified flow. Its text model and its VAE stay as they are.

A flow's σ and a diffusion's timestep with the same ratio of noise to signal show the same picture in the same noise, at
another scale: what the committed U-Net says there is known, and with it the direction ε − x_0. So it is the teacher
(progressive distillation's change of parameters, Salimans and Ho 2022), whose answers have none of the variance of the
true ε − x_0, and a tuning takes minutes. Above the last timestep's σ of 0.94 the teacher sees the last timestep.

The change is the same at any size, so most steps see pictures of half the size, which cost a quarter. Steps, not
minutes, are the budget, and what is drawn is a function of the step: what is interrupted goes on to the bit.
"""

from __future__ import annotations

import copy
import random
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from ...files import atomic_write
from ...hosts.standalone.tensors import read_tensors
from ...models.layers import unet_to_ldm
from ...models.schedule import STEPS, FlowSchedule, NoiseSchedule, shifted
from .. import CHECKPOINT
from ..difference import difference
from . import warm_start
from .captions import CaptionTable
from .denoiser import ADAM_NAMES, REPEATS, WIDE_EVERY, Model, cache_latents
from .emphasis import cell_weights
from .muon import MuonAdam
from .pictures import Pictures
from .progress import Progress, save_state

STATE = "flow.pt"
METADATA = {
    "modelspec.title": "Paper-doll miniature, rectified flow",
    "modelspec.architecture": "stable-diffusion-v1",
    "modelspec.prediction_type": "rectified_flow",
    "modelspec.resolution": "128x128",
    "modelspec.license": "MIT",
}
CAPTIONS = 8  # per step
SHIFT = 2.0  # more of the noisy end, where captions decide
WARMUP = 20  # steps
HALF = 0.83  # share of the steps with pictures of half the size
DECAY_FROM = 0.65
SAVE_EVERY = 60.0  # seconds
LAST = STEPS - 1


class Teacher:
    """The diffusion model that the flow is tuned from."""

    def __init__(self, unet: nn.Module):
        self.unet, self.schedule = unet, NoiseSchedule()
        ratio = self.schedule.noise_ratio(torch.arange(STEPS))
        self.sigmas = ratio / (1 + ratio)  # of the flow, at each timestep

    def step_at(self, sigma: Tensor) -> Tensor:
        """The timesteps [B] with as much noise as σ [B], the nearest from above."""
        return torch.searchsorted(self.sigmas, sigma).clamp(max=LAST)

    @torch.no_grad()
    def direction(self, x0: Tensor, noise: Tensor, t: Tensor, past: Tensor, cond: Tensor) -> Tensor:
        """ε − x_0 [B,4,h,w] as seen at timesteps t [B]; ``past`` [B] is true where σ is above the last of them: there
        the picture is all that is to be guessed."""
        noisy = self.schedule.add_noise(x0, noise, t)
        said = self.unet(noisy.contiguous(memory_format=torch.channels_last), t, cond).sample
        alpha = self.schedule.alphas_cumprod[t].view(-1, 1, 1, 1)
        picture = (noisy - (1 - alpha).sqrt() * said) / alpha.sqrt()
        return torch.where(past.view(-1, 1, 1, 1), noise, said) - picture


def train(pictures: dict[str, Pictures], folder: Path, steps: int, lr: float) -> None:
    """Go on from the newest state to step ``steps``; without one, begin with the committed weights."""
    table = CaptionTable()
    latents, cells = cache_latents(pictures, folder), cell_weights(pictures, folder)
    model = Model(table.size)
    model.load_state_dict(warm_start.denoiser_weights(table) or {}, strict=False)
    model.eval().requires_grad_(False)
    text, unet, teacher = model.text, copy.deepcopy(model.unet).requires_grad_(True), Teacher(model.unet)
    if not (folder / STATE).exists():
        fit_times(unet, teacher)
    optimizer = MuonAdam(unet.named_parameters(), lr=lr, adam_lr=lr * 0.15, adam_names=ADAM_NAMES)
    parameters = list(unet.parameters())
    step = _restore(folder / STATE, unet, optimizer)
    schedule, progress = FlowSchedule(), Progress(float("inf"))
    while step < steps:
        optimizer.set_factor(min(1.0, (step + 1) / WARMUP, (1 - step / steps) / (1 - DECAY_FROM)))
        r = random.Random(f"flow {step}")
        generator = torch.Generator().manual_seed(r.randrange(1 << 62))
        kind = "wide" if step % WIDE_EVERY == WIDE_EVERY - 1 else "square"
        index = [r.randrange(len(latents[kind])) for _ in range(CAPTIONS)]
        captions = [table.caption(pictures[kind].specs[i], r) for i in index]
        x0, weights = latents[kind][index], cells[kind][index]
        if step < HALF * steps:
            x0, weights = F.avg_pool2d(x0, 2), F.avg_pool2d(weights, 2)
        with torch.no_grad():
            cond = text(input_ids=table.rows(captions, r)).last_hidden_state.repeat(REPEATS, 1, 1)
        x0, weights = x0.repeat(REPEATS, 1, 1, 1), weights.repeat(REPEATS, 1, 1, 1)
        u = torch.rand(CAPTIONS, generator=generator)
        sigma = shifted(torch.cat([u, (u + 0.5) % 1]), SHIFT)  # two far apart times of each picture: less variance
        t, past = teacher.step_at(sigma), sigma > teacher.sigmas[-1]
        sigma = torch.where(past, sigma, teacher.sigmas[t])
        noise = torch.randn(x0.shape, generator=generator)
        noisy = schedule.add_noise(x0, noise, STEPS * sigma).contiguous(memory_format=torch.channels_last)
        squares = (unet(noisy, STEPS * sigma, cond).sample - teacher.direction(x0, noise, t, past, cond)).square()
        loss = (squares * weights).mean()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 5.0)
        optimizer.step()
        optimizer.zero_grad()
        step += 1
        progress.tick(len(x0), mse=squares.mean(), loss=loss)
        if progress.due(SAVE_EVERY) or step == steps:
            save_state(folder / STATE, {"unet": unet.state_dict(), "optimizer": optimizer.full_state(), "step": step})


def fit_times(unet: nn.Module, teacher: Teacher, steps: int = 1000) -> float:
    """Let ``unet`` embed each time of the flow as the timestep with as much noise; the relative error that is left."""
    times = torch.linspace(1, STEPS, STEPS)
    wanted = teacher.step_at(times / STEPS)
    embedding, old = unet.time_embedding, teacher.unet.time_embedding
    with torch.no_grad():
        target = old(unet.time_proj(wanted))
    optimizer = torch.optim.Adam(embedding.parameters(), lr=2e-3)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = 2e-3 * (1 - step / steps)
        error = (embedding(unet.time_proj(times)) - target).square().mean()
        error.backward()
        optimizer.step()
        optimizer.zero_grad()
    return (error.detach() / target.square().mean()).sqrt().item()


def export(folder: Path, target: Path) -> Path:
    """Write how the tuned U-Net of ``folder`` differs from the committed checkpoint's."""
    tuned = unet_to_ldm(torch.load(folder / STATE, weights_only=True)["unet"])
    with atomic_write(target) as part:
        save_file(difference(tuned, read_tensors(CHECKPOINT)), part, METADATA)
    return target


def _restore(path: Path, unet: nn.Module, optimizer: MuonAdam) -> int:
    if not path.exists():
        return 0
    state = torch.load(path, weights_only=True)
    unet.load_state_dict(state["unet"])
    optimizer.load_full_state(state["optimizer"])
    return int(state["step"])
