"""The latents that the encoder is taught: every 8×8 cell states its mean colour and its contrast.

A freely trained narrow KL-VAE gives up hue first, and everything after it suffers: with few channels a group, GroupNorm
removes just what an absolute colour is. So the latents are fixed beforehand and plain to read. Three channels are the
cell's whitened mean colour, the fourth is how much its brightness varies (outlines). The decoder learns to draw from
them, the encoder to produce them, and the denoiser can be trained at once, independent of both.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CELL = 8


class Sketcher(nn.Module):
    """Pictures [b, 3, H, W] in [-1, 1] → latents [b, 4, H/8, W/8] of about zero mean and unit variance."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(4))
        self.register_buffer("matrix", torch.eye(4))

    @torch.no_grad()
    def fit(self, pixels: Tensor) -> None:
        """Whiten colours together and the contrast by itself, from a sample of pictures."""
        cells = self._raw(pixels).permute(1, 0, 2, 3).reshape(4, -1)
        self.mean.copy_(cells.mean(1))
        values, vectors = torch.linalg.eigh(torch.cov(cells[:3]))
        self.matrix[:3, :3] = vectors @ torch.diag(values.clamp_min(1e-6) ** -0.5) @ vectors.T
        self.matrix[3, 3] = 1 / cells[3].std()

    def forward(self, pixels: Tensor) -> Tensor:
        """Whitened colour and contrast of each cell."""
        return torch.einsum("ij,bjhw->bihw", self.matrix, self._raw(pixels) - self.mean[:, None, None])

    @staticmethod
    def _raw(pixels: Tensor) -> Tensor:
        grey = pixels.mean(1, keepdim=True)
        variance = F.avg_pool2d(grey.square(), CELL) - F.avg_pool2d(grey, CELL).square()
        return torch.cat([F.avg_pool2d(pixels, CELL), variance.clamp_min(1e-6).sqrt()], 1)
