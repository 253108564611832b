"""Stage 2: U-Net and text model, together, on cached latents.

What a caption says about colours matters only where the noise hides the picture, and there it hardly moves an error
that is measured in noise. So errors count as errors of the picture at low signal-to-noise ratios (:func:`weight`), the
text model also drafts each picture from its caption alone (:class:`Draft`), and training begins with pictures of half
the size, which cost a quarter.
"""

from __future__ import annotations

import random
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...models.schedule import NoiseSchedule
from ..architecture import build_text_encoder, build_unet
from . import autoencoder, warm_start
from .captions import CaptionTable
from .emphasis import cell_weights
from .muon import MuonAdam
from .pictures import Pictures
from .progress import Progress, save_state

CAPTIONS = 16  # per step; each caption's text encoding serves two noise levels
REPEATS = 2
WIDE_EVERY = 16
MIN_SNR_GAMMA = 5.0
SNR_FLOOR = 0.03  # below it hardly anything but noise is to be seen, and its copy's error would drown the rest
DRAFT_WEIGHT = 0.3
TILT = 0.7  # timesteps are 1000 u^TILT of a uniform u: more of them where captions matter
EMA = 0.998
KEEP_EVERY = 240.0  # seconds between two states of the constant learning rate
ADAM_NAMES = ("embedding", "conv_in", "conv_out", "draft")


@torch.no_grad()
def cache_latents(pictures: dict[str, Pictures], folder: Path) -> dict[str, Tensor]:
    """Scaled latents [n, 4, h, w] of every picture through the frozen sketcher."""
    path = folder / "latents.pt"
    if not path.exists():
        _, sketcher = autoencoder.load(folder, pictures["square"])
        latents = {}
        for kind, p in pictures.items():
            parts = [sketcher(p.tensor(slice(i, i + 64))) for i in range(0, len(p.specs), 64)]
            latents[kind] = torch.cat(parts)
        save_state(path, latents)
    return torch.load(path, weights_only=True)


def initialise(unet: nn.Module) -> None:
    """Residual branches and the output start at zero."""
    for m in unet.modules():
        if type(m).__name__ == "ResnetBlock2D":
            nn.init.zeros_(m.conv2.weight)
        elif type(m).__name__ == "Transformer2DModel":
            nn.init.zeros_(m.proj_out.weight)
    nn.init.zeros_(unet.conv_out.weight)


def weight(snr: Tensor, gamma: float = MIN_SNR_GAMMA) -> Tensor:
    """Weight of a squared noise error at signal-to-noise ratio ``snr``: min-SNR (Hang et al. 2023) above 1, below 1 the
    error of the picture itself (truncated SNR, Salimans and Ho 2022), constant below ``SNR_FLOOR``."""
    return snr.clamp(1.0, gamma) / snr.clamp_min(SNR_FLOOR)


class Draft(nn.Module):
    """Text states → the picture's latents at 8×8, as well as the caption alone can tell. Not exported."""

    SIDE = 8

    def __init__(self, width: int, channels: int = 4):
        super().__init__()
        out = channels * self.SIDE**2
        self.layers = nn.Sequential(nn.Linear(width, 256), nn.GELU(), nn.Linear(256, out))

    def loss(self, states: Tensor, latents: Tensor, cells: Tensor) -> Tensor:
        """Mean squared error for ``states`` [b, 77, width] (the last token has read all) and square ``latents``,
        weighed by ``cells``."""
        target = F.adaptive_avg_pool2d(latents, self.SIDE)
        squares = (self.layers(states[:, -1]).view_as(target) - target).pow(2)
        return (squares * F.adaptive_avg_pool2d(cells, self.SIDE)).mean()


class Model(nn.Module):
    """U-Net and text model as one set of parameters."""

    def __init__(self, vocabulary: int):
        super().__init__()
        self.unet = build_unet()
        self.text = build_text_encoder(vocabulary)
        self.draft = Draft(self.text.config.hidden_size)
        initialise(self.unet)
        self.unet.to(memory_format=torch.channels_last)

    @property
    def embedding(self) -> nn.Parameter:
        """The text encoder's table of tokens [vocabulary, width]."""
        return next(p for n, p in self.text.named_parameters() if n.endswith("token_embedding.weight"))


def train(
    pictures: dict[str, Pictures],
    folder: Path,
    minutes: float,
    half: bool = False,
    lr: float = 0.02,
    decay_from: float = 0.55,
) -> None:
    """Train for ``minutes`` from the newest state, on pictures of ``half`` the size if asked. The state before the
    learning rate falls is kept as ``denoiser-stable.pt``: a longer training goes on from there."""
    table = CaptionTable()
    latents, cells = cache_latents(pictures, folder), cell_weights(pictures, folder)
    if half:
        latents = {kind: F.avg_pool2d(x, 2) for kind, x in latents.items()}
        cells = {kind: F.avg_pool2d(x, 2) for kind, x in cells.items()}
    model = Model(table.size)
    table.prepare_embedding(model.embedding)
    model.load_state_dict(warm_start.denoiser_weights(table) or {}, strict=False)
    optimizer = MuonAdam(model.named_parameters(), lr=lr, adam_lr=lr * 0.15, adam_names=ADAM_NAMES)
    average = {n: p.detach().clone() for n, p in model.named_parameters()}
    step = _restore(folder / "denoiser-stable.pt", model, optimizer, average)
    schedule = NoiseSchedule()
    snr = schedule.snr(torch.arange(1000))
    parameters, averages = list(model.parameters()), list(average.values())
    progress, kept = Progress(minutes * 60), Progress(minutes * 60)
    while (share := progress.share) < 1:
        factor = min(1.0, (progress.step + 1) / 40) * min(1.0, max(0.01, (1 - share) / (1 - decay_from)))
        if share < decay_from and kept.due(KEEP_EVERY):
            _keep(folder / "denoiser-stable.pt", model, optimizer, average, step)
        r = random.Random(f"denoiser {step}")
        generator = torch.Generator().manual_seed(r.randrange(1 << 62))
        kind = "wide" if step % WIDE_EVERY == WIDE_EVERY - 1 else "square"
        index = [r.randrange(len(latents[kind])) for _ in range(CAPTIONS)]
        captions = [table.caption(pictures[kind].specs[i], r) for i in index]
        states = model.text(input_ids=table.rows(captions, r)).last_hidden_state
        x0, cond = latents[kind][index].repeat(REPEATS, 1, 1, 1), states.repeat(REPEATS, 1, 1)
        u = torch.rand(CAPTIONS, generator=generator)
        u = torch.cat([u, (u + 0.5) % 1])  # two far apart levels of each picture: less variance
        t = (1000 * u**TILT).long().clamp_max(999)
        noise = torch.randn(x0.shape, generator=generator)
        noisy = schedule.add_noise(x0, noise, t).contiguous(memory_format=torch.channels_last)
        squares = (model.unet(noisy, t, cond).sample - noise).pow(2)
        emphasis = cells[kind][index]
        error = (squares * emphasis.repeat(REPEATS, 1, 1, 1)).mean((1, 2, 3))
        loss = (error * weight(snr[t])).mean()
        draft = model.draft.loss(states, x0[:CAPTIONS], emphasis) if kind == "square" else loss.new_zeros(())
        (loss + DRAFT_WEIGHT * draft).backward()
        nn.utils.clip_grad_norm_(parameters, 5.0)
        optimizer.set_factor(factor)
        optimizer.step()
        optimizer.zero_grad()
        step += 1
        torch._foreach_lerp_(averages, [p.detach() for p in parameters], 1 - min(EMA, (step + 1) / (step + 10)))
        progress.tick(len(x0), mse=squares.mean(), loss=loss, draft=draft)
        if progress.due(120):
            save_state(folder / "denoiser.pt", {"average": average, "step": step})
    save_state(folder / "denoiser.pt", {"average": average, "step": step})


def _keep(path: Path, model: Model, optimizer: MuonAdam, average: dict[str, Tensor], step: int) -> None:
    save_state(
        path, {"model": model.state_dict(), "optimizer": optimizer.full_state(), "average": average, "step": step}
    )


def _restore(path: Path, model: Model, optimizer: MuonAdam, average: dict[str, Tensor]) -> int:
    if not path.exists():
        return 0
    state = torch.load(path, weights_only=True)
    model.load_state_dict(state["model"])
    optimizer.load_full_state(state["optimizer"])
    for name, value in state["average"].items():
        average[name].copy_(value)
    return state["step"]


def load(folder: Path) -> tuple[Model, CaptionTable]:
    """The averaged weights of the newest state, and the vocabulary they were trained on."""
    table = CaptionTable()
    model = Model(table.size)
    table.prepare_embedding(model.embedding)
    state = torch.load(folder / "denoiser.pt", weights_only=True)
    model.load_state_dict(state["average"], strict=False)
    return model.eval().requires_grad_(False), table
