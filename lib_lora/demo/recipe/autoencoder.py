"""Stage 1: the KL-VAE. The decoder learns to draw from the sketcher's latents, the encoder to produce them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..architecture import build_vae
from . import warm_start
from .muon import MuonAdam
from .pictures import Pictures
from .progress import Progress, save_state
from .sketcher import Sketcher
from .thumbnail import POSTERIOR_LOGVAR, start_as_thumbnail

LATENT_SCALE = 0.18215  # Stable Diffusion 1.x: latents × this have about unit variance
CROP = 64
BATCH = {64: 8, 128: 4}
STATE = "autoencoder.pt"
LATENT_NOISE = 0.12  # the decoder must forgive what a denoiser gets slightly wrong


def reconstruction_loss(y: Tensor, x: Tensor) -> Tensor:
    """L1 + L2 + edges, plus L1 of 4×4 and 8×8 means: without the means, hue collapses before detail is learned."""
    d = y - x
    edges = (d[..., 1:] - d[..., :-1]).abs().mean() + (d[..., 1:, :] - d[..., :-1, :]).abs().mean()
    means = F.avg_pool2d(d, 4).abs().mean() + F.avg_pool2d(d, 8).abs().mean()
    return d.abs().mean() + d.pow(2).mean() + 0.3 * edges + 2 * means


def psnr(y: Tensor, x: Tensor) -> float:
    """Mean peak signal-to-noise ratio in dB of pictures in [-1, 1]."""
    return (-10 * ((y.clamp(-1, 1) - x) / 2).pow(2).mean((1, 2, 3)).log10()).mean().item()


def crops(sets: Sequence[Pictures], size: int, rng: np.random.Generator) -> Tensor:
    """A batch of random crops [B, 3, size, size] in [-1, 1], as many of each set as of the others; their corners lie on
    multiples of 8 pixels."""
    b = BATCH[size]
    out = np.empty((b, size, size, 3), np.uint8)
    for k in range(b):
        pixels = sets[k % len(sets)].pixels
        n, height, width, _ = pixels.shape
        i, y, x = rng.integers(n), 8 * rng.integers((height - size) // 8 + 1), 8 * rng.integers((width - size) // 8 + 1)
        out[k] = pixels[i, y : y + size, x : x + size]
    x = torch.from_numpy(out).permute(0, 3, 1, 2).float().div(127.5).sub(1)
    return x.contiguous(memory_format=torch.channels_last)


def train_decoder(
    sets: Sequence[Pictures], folder: Path, minutes: float, size: int = CROP, lr: float = 0.01, decay_from: float = 0.5
) -> None:
    """Train for ``minutes`` from the newest state; the learning rate falls from ``decay_from`` of that time."""
    vae, sketcher = load(folder, sets[0])
    vae.requires_grad_(False)
    for part in (vae.decoder, vae.post_quant_conv):
        part.requires_grad_(True).train()
    decode = torch.compile(lambda z: vae.decoder(vae.post_quant_conv(z)), dynamic=False)

    def loss(x: Tensor) -> Tensor:
        z = sketcher(x)
        z = z + torch.randn_like(z) * (LATENT_NOISE * torch.rand(len(z), 1, 1, 1))
        with torch.autocast("cpu", torch.bfloat16):
            y = decode((z / LATENT_SCALE).contiguous(memory_format=torch.channels_last))
        return reconstruction_loss(y.float(), x)

    _train(vae, sketcher, sets, folder, loss, minutes, size, lr, decay_from)


def train_encoder(
    sets: Sequence[Pictures], folder: Path, minutes: float, size: int = 128, lr: float = 0.01, decay_from: float = 0.4
) -> None:
    """Teach the encoder the sketcher's latents, with a posterior as narrow as Stable Diffusion's."""
    vae, sketcher = load(folder, sets[0])
    for part in (vae.encoder, vae.quant_conv):
        part.requires_grad_(True).train()
    encode = torch.compile(lambda x: vae.quant_conv(vae.encoder(x)), dynamic=False)

    def loss(x: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            moments = encode(x)
        mean, logvar = moments.float().chunk(2, 1)
        return (mean * LATENT_SCALE - sketcher(x)).pow(2).mean() + 1e-3 * (logvar - POSTERIOR_LOGVAR).pow(2).mean()

    _train(vae, sketcher, sets, folder, loss, minutes, size, lr, decay_from)


def _train(
    vae,
    sketcher: Sketcher,
    sets: Sequence[Pictures],
    folder: Path,
    loss,
    minutes: float,
    size: int,
    lr: float,
    decay_from: float,
) -> None:
    named = [(n, p) for n, p in vae.named_parameters() if p.requires_grad]
    optimizer = MuonAdam(named, lr=lr, adam_lr=lr * 0.2, adam_names=("conv_in", "conv_out", "quant_conv"))
    average = {n: p.detach().clone() for n, p in named}
    rng = np.random.default_rng()
    progress = Progress(minutes * 60)
    while (share := progress.share) < 1:
        optimizer.set_factor(min(1.0, (progress.step + 1) / 50) * min(1.0, max(0.02, (1 - share) / (1 - decay_from))))
        x = crops(sets, size, rng)
        value = loss(x)
        value.backward()
        optimizer.step()
        optimizer.zero_grad()
        decay = min(0.998, (progress.step + 1) / (progress.step + 20))
        for n, p in named:
            average[n].lerp_(p.detach(), 1 - decay)
        progress.tick(len(x), loss=value)
        if progress.due(60):
            save_state(folder / STATE, {"vae": {**vae.state_dict(), **average}, "sketcher": sketcher.state_dict()})
    save_state(folder / STATE, {"vae": {**vae.state_dict(), **average}, "sketcher": sketcher.state_dict()})


def load(folder: Path, pictures: Pictures | None = None):
    """The VAE and the sketcher of the newest state, else of the committed checkpoint, else a fresh pair."""
    vae, sketcher = build_vae(), Sketcher()
    vae.to(memory_format=torch.channels_last)
    if (folder / STATE).exists():
        state = torch.load(folder / STATE, weights_only=True)
        vae.load_state_dict(state["vae"])
        sketcher.load_state_dict(state["sketcher"])
    else:
        sketcher.fit(pictures.tensor(slice(0, 512)))
        start_as_thumbnail(vae, sketcher.mean, sketcher.matrix, LATENT_SCALE)
        vae.load_state_dict(warm_start.vae_weights() or {}, strict=False)
    return vae.eval().requires_grad_(False), sketcher.eval()


@torch.no_grad()
def evaluate(pictures: Pictures, folder: Path, count: int = 48) -> dict[str, float]:
    """PSNR of whole pictures through the sketcher's latents and, once trained, through the encoder's."""
    vae, sketcher = load(folder, pictures)
    x = pictures.tensor(slice(len(pictures.specs) - count, None))
    z = torch.cat([sketcher(b) for b in x.split(8)])
    own = torch.cat([vae.encode(b).latent_dist.mean for b in x.split(8)]) * LATENT_SCALE
    decode = lambda latents: torch.cat([vae.decode(b / LATENT_SCALE).sample for b in latents.split(8)])  # noqa: E731
    return {
        "psnr_sketcher": psnr(decode(z), x),
        "psnr_encoder": psnr(decode(own), x),
        "encoder_error": ((own - z).norm() / z.norm()).item(),
        "brightness": (decode(z) - x).mean().item() * 127.5,
    }
