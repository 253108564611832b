"""The target that the encoder learns: latents that state colour plainly.

A freely trained KL-VAE on this world gives up hue first, and everything that follows suffers. Here three latent channels
start as the whitened mean colour of each 8×8 cell, and a small learned network on 24×24 neighbourhoods adds what the
decoder misses. The decoder and this sketcher are trained together; afterwards the sketcher is frozen, and the real
encoder (Stable Diffusion's layout) learns to give the same latents.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Sketcher(nn.Module):
    """Pictures [b, 3, H, W] in [-1, 1] → latents [b, 4, H/8, W/8] of zero mean and unit variance."""

    def __init__(self, hidden: int = 256):
        super().__init__()
        self.patch = nn.Conv2d(3, hidden, 24, stride=8, padding=8)
        self.mix = nn.Conv2d(hidden, hidden, 1)
        self.out = nn.Conv2d(hidden, 4, 1)
        self.register_buffer("color_mean", torch.zeros(3))
        self.register_buffer("color_matrix", torch.eye(3))
        self.norm = nn.BatchNorm2d(4, affine=False, momentum=0.01)
        with torch.no_grad():
            self.out.weight[:3] *= 0.1

    @torch.no_grad()
    def fit_colors(self, pixels: Tensor) -> None:
        """Set the whitening of the mean colours from a sample of pictures."""
        cells = F.avg_pool2d(pixels, 8).permute(1, 0, 2, 3).reshape(3, -1)
        self.color_mean.copy_(cells.mean(1))
        values, vectors = torch.linalg.eigh(torch.cov(cells))
        self.color_matrix.copy_(vectors @ torch.diag(values.clamp_min(1e-6) ** -0.5) @ vectors.T)

    def forward(self, pixels: Tensor) -> Tensor:
        color = F.avg_pool2d(pixels, 8) - self.color_mean[:, None, None]
        color = torch.einsum("ij,bjhw->bihw", self.color_matrix, color)
        detail = self.out(F.silu(self.mix(F.silu(self.patch(pixels)))))
        return self.norm(detail + F.pad(color, (0, 0, 0, 0, 0, 1)))
