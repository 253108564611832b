"""Stage 1: the KL-VAE. Decoder and sketcher together, then the encoder alone, taught by the frozen sketcher."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..architecture import build_vae
from .muon import MuonAdam
from .pictures import Pictures
from .progress import Progress, save_state
from .sketcher import Sketcher

LATENT_SCALE = 0.18215  # Stable Diffusion 1.x: latents × this have about unit variance
CROP = 64
BATCH = {64: 16, 128: 4}
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


def crops(pictures: Pictures, size: int, rng: np.random.Generator) -> Tensor:
    n, height, width, _ = pictures.pixels.shape
    b = BATCH[size]
    out = np.empty((b, size, size, 3), np.uint8)
    for k in range(b):
        i, y, x = rng.integers(n), 8 * rng.integers((height - size) // 8 + 1), 8 * rng.integers((width - size) // 8 + 1)
        out[k] = pictures.pixels[i, y:y + size, x:x + size]
    x = torch.from_numpy(out).permute(0, 3, 1, 2).float().div(127.5).sub(1)
    return x.contiguous(memory_format=torch.channels_last)


def train_decoder(pictures: Pictures, folder: Path, minutes: float, size: int = CROP, lr: float = 0.01,
                  freeze_sketcher: bool = False, decay_from: float = 0.5) -> None:
    """Train for ``minutes`` from the newest state; the learning rate falls linearly from ``decay_from`` of that time."""
    vae, sketcher = build_vae(), Sketcher()
    vae.to(memory_format=torch.channels_last)
    with torch.no_grad():
        vae.post_quant_conv.weight.mul_(LATENT_SCALE)
    state_file = folder / "autoencoder.pt"
    if state_file.exists():
        state = torch.load(state_file, weights_only=True)
        vae.load_state_dict(state["vae"])
        sketcher.load_state_dict(state["sketcher"])
    else:
        sketcher.fit_colors(pictures.tensor(slice(0, 512)))
    sketcher.train(not freeze_sketcher).requires_grad_(not freeze_sketcher)
    named = [(n, p) for n, p in vae.named_parameters() if n.startswith(("decoder", "post_quant"))]
    named += [] if freeze_sketcher else [(f"sketcher.{n}", p) for n, p in sketcher.named_parameters()]
    optimizer = MuonAdam(named, lr=lr, adam_lr=2e-3, adam_names=("conv_in", "conv_out", "post_quant", "patch", "sketcher.out"))
    average = {n: p.detach().clone() for n, p in named}
    decode = torch.compile(lambda z: vae.decoder(vae.post_quant_conv(z)), dynamic=False)
    rng = np.random.default_rng()
    progress = Progress(minutes * 60)
    while (share := progress.share) < 1:
        optimizer.set_factor(min(1.0, (progress.step + 1) / 50) * min(1.0, max(0.02, (1 - share) / (1 - decay_from))))
        x = crops(pictures, size, rng)
        z = sketcher(x)
        z = z + torch.randn_like(z) * (LATENT_NOISE * torch.rand(len(z), 1, 1, 1))
        with torch.autocast("cpu", torch.bfloat16):
            y = decode((z / LATENT_SCALE).contiguous(memory_format=torch.channels_last))
        loss = reconstruction_loss(y.float(), x)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        decay = min(0.998, (progress.step + 1) / (progress.step + 20))
        for n, p in named:
            average[n].lerp_(p.detach(), 1 - decay)
        progress.tick(len(x), loss=loss)
        if progress.due(60):
            _save(state_file, vae, sketcher, average)
    _save(state_file, vae, sketcher, average)


def _save(path: Path, vae, sketcher: Sketcher, average: dict[str, Tensor]) -> None:
    weights = {**vae.state_dict(), **{n: v for n, v in average.items() if not n.startswith("sketcher.")}}
    drawn = {**sketcher.state_dict(), **{n[9:]: v for n, v in average.items() if n.startswith("sketcher.")}}
    save_state(path, {"vae": weights, "sketcher": drawn})


def load(folder: Path):
    """The VAE and the frozen sketcher of the newest state."""
    state = torch.load(folder / "autoencoder.pt", weights_only=True)
    vae, sketcher = build_vae(), Sketcher()
    vae.load_state_dict(state["vae"])
    sketcher.load_state_dict(state["sketcher"])
    return vae.eval().requires_grad_(False).to(memory_format=torch.channels_last), sketcher.eval().requires_grad_(False)


@torch.no_grad()
def evaluate(pictures: Pictures, folder: Path, count: int = 48) -> dict[str, float]:
    """PSNR of whole pictures through the sketcher's latents and, once trained, through the encoder's."""
    vae, sketcher = load(folder)
    x = pictures.tensor(slice(len(pictures.specs) - count, None))
    z = torch.cat([sketcher(b) for b in x.split(8)])
    own = torch.cat([vae.encode(b).latent_dist.mean for b in x.split(8)]) * LATENT_SCALE
    decode = lambda latents: torch.cat([vae.decode(b / LATENT_SCALE).sample for b in latents.split(8)])  # noqa: E731
    return {
        "psnr_sketcher": psnr(decode(z), x), "psnr_encoder": psnr(decode(own), x),
        "encoder_error": ((own - z).norm() / z.norm()).item(), "brightness": (decode(z) - x).mean().item() * 127.5,
    }


def train_encoder(pictures: Pictures, folder: Path, minutes: float, size: int = 128, lr: float = 0.01) -> None:
    """Teach the encoder the sketcher's latents, with a posterior as narrow as Stable Diffusion's."""
    vae, sketcher = load(folder)
    vae.encoder.requires_grad_(True).train()
    vae.quant_conv.requires_grad_(True)
    named = [(n, p) for n, p in vae.named_parameters() if p.requires_grad]
    optimizer = MuonAdam(named, lr=lr, adam_lr=2e-3, adam_names=("conv_in", "conv_out", "quant_conv"))
    average = {n: p.detach().clone() for n, p in named}
    encode = torch.compile(lambda x: vae.quant_conv(vae.encoder(x)), dynamic=False)
    rng = np.random.default_rng()
    progress = Progress(minutes * 60)
    while (share := progress.share) < 1:
        optimizer.set_factor(min(1.0, (progress.step + 1) / 50) * min(1.0, max(0.02, (1 - share) / 0.6)))
        x = crops(pictures, size, rng)
        with torch.autocast("cpu", torch.bfloat16):
            moments = encode(x)
        mean, logvar = moments.float().chunk(2, 1)
        loss = (mean * LATENT_SCALE - sketcher(x)).pow(2).mean() + 1e-3 * (logvar + 6).pow(2).mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        decay = min(0.998, (progress.step + 1) / (progress.step + 20))
        for n, p in named:
            average[n].lerp_(p.detach(), 1 - decay)
        progress.tick(len(x), loss=loss)
        if progress.due(60):
            _save(folder / "autoencoder.pt", vae, sketcher, average)
    _save(folder / "autoencoder.pt", vae, sketcher, average)
