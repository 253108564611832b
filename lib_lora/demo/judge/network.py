"""The judge's network: four convolutions, then one linear layer that knows where in the picture it looks."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from .attributes import CLASSES

SIDE = 64  # pixels; a doll's hair bow is still seven of them wide
WIDTHS = (32, 64, 96, 128)
CELL_FEATURES = 24
FEATURES = 128
DROPOUT = 0.2


def pixels(image: Image.Image) -> np.ndarray:
    """The picture as the network gets it: uint8 [64, 64, 3]; a wide page is squeezed."""
    return np.asarray(image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BOX))


def to_tensor(batch: np.ndarray) -> Tensor:
    """uint8 [b, h, w, 3] → float [b, 3, h, w] in [-1, 1]."""
    return torch.from_numpy(batch).permute(0, 3, 1, 2).float().div(127.5).sub(1)


def _convolution(inputs: int, outputs: int, kernel: int, stride: int) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


class JudgeNetwork(nn.Module):
    """Pictures [b, 3, 64, 64] in [-1, 1] → logits [b, classes] of each attribute. About 0.4 M parameters."""

    def __init__(self):
        super().__init__()
        a, b, c, d = WIDTHS
        self.trunk = nn.Sequential(
            _convolution(3, a, 5, 2),
            _convolution(a, b, 3, 2),
            _convolution(b, c, 3, 2),
            _convolution(c, d, 3, 1),
            _convolution(d, CELL_FEATURES, 1, 1),
            nn.Flatten(),  # keeps position: a red patch is a hat above the hair and a shirt below it
            nn.Dropout(DROPOUT),
            nn.Linear(CELL_FEATURES * (SIDE // 8) ** 2, FEATURES, bias=False),
            nn.BatchNorm1d(FEATURES),
            nn.ReLU(inplace=True),
        )
        self.heads = nn.ModuleDict({name: nn.Linear(FEATURES, len(values)) for name, values in CLASSES.items()})

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Attribute -> logits [B, values] for pixels [B, 3, H, W]."""
        features = self.trunk(x)
        return {name: head(features) for name, head in self.heads.items()}
