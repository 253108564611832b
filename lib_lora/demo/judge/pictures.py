"""The judge's training pictures: rendered once, then disturbed afresh each time they are shown."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ...files import atomic_write
from ..world import HAIR, HATS, STYLES, UNSEEN_STYLES, Spec, random_spec, render
from .attributes import CLASSES, truth
from .network import pixels

UNSEEN_STYLE_SHARE = 0.1
WIDE_SOLO_SHARE = 0.05
ANY_STYLE_SHARE = 0.4
NOT_SHOWN = -100  # cross-entropy skips these labels


@dataclass
class Pictures:
    """``pixels`` is uint8 [n, 64, 64, 3]; ``labels`` int64 [n, attributes], in the order of ``CLASSES``."""

    pixels: np.ndarray
    labels: np.ndarray


def judge_spec(r: random.Random) -> Spec:
    """A random picture of a wider world than the base model's: every hair with every hat and top, neon, and wide pages
    with one character, so that the page's width does not give their number away."""
    spec = random_spec(r)
    people = tuple(replace(c, hair=r.choice(list(HAIR))) for c in spec.characters)
    style = r.choice(UNSEEN_STYLES) if r.random() < UNSEEN_STYLE_SHARE else spec.style
    wide = len(people) == 1 and r.random() < WIDE_SOLO_SHARE
    return replace(spec, characters=people, style=style, size=(192, 128) if wide else spec.size)


def training_spec(r: random.Random) -> Spec:
    """As :func:`judge_spec`, but with hats and the rarer styles more often, most of all those that the base model has
    not seen: there is more to learn about them."""
    spec = judge_spec(r)
    people = tuple(replace(c, hat=r.choice(HATS)) for c in spec.characters)
    style = r.choice((*STYLES, *len(STYLES) * UNSEEN_STYLES)) if r.random() < ANY_STYLE_SHARE else spec.style
    return replace(spec, characters=people, style=style)


def labels_of(spec: Spec) -> list[int]:
    """Per attribute the number of the class that is shown, or ``NOT_SHOWN``."""
    shown = truth(spec)
    return [values.index(shown[name]) if name in shown else NOT_SHOWN for name, values in CLASSES.items()]


def rendered(draw: Callable[[random.Random], Spec], count: int, seed: int, folder: Path) -> Pictures:
    """``count`` pictures of specs from ``draw``, kept in ``folder`` for the next time."""
    path = folder / f"{draw.__name__}-{seed}-{count}.npz"
    if not path.exists():
        r = random.Random(seed)
        specs = [draw(r) for _ in range(count)]
        shown = np.stack([pixels(render(s)) for s in specs])
        with atomic_write(path) as part, open(part, "wb") as f:
            np.savez(f, pixels=shown, labels=np.array([labels_of(s) for s in specs]))
    with np.load(path) as arrays:
        return Pictures(arrays["pixels"], arrays["labels"])


def disturbed(x: Tensor) -> Tensor:
    """Pictures [b, 3, 64, 64] in [-1, 1] as a small diffusion model might have drawn them.

    Half of them mirrored, moved by up to 3 pixels and scaled by up to 8 %, then blurred, then noisy and slightly off in
    colour: colours are labels, so they move by much less than the palette's distances.
    """
    x = _softened(_moved(x))
    gain = 1 + 0.05 * torch.randn(len(x), 3, 1, 1)
    offset = 0.03 * torch.randn(len(x), 3, 1, 1)
    noise = 0.1 * torch.rand(len(x), 1, 1, 1) * torch.randn_like(x)
    return (x * gain + offset + noise).clamp(-1, 1)


def _moved(x: Tensor) -> Tensor:
    theta = torch.zeros(len(x), 2, 3)
    theta[:, 0, 0] = theta[:, 1, 1] = 1 + 0.08 * (2 * torch.rand(len(x)) - 1)
    theta[:, 0, 0] *= torch.randint(2, (len(x),)) * 2 - 1
    theta[:, :, 2] = 3 / 32 * (2 * torch.rand(len(x), 2) - 1)
    grid = F.affine_grid(theta, list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, padding_mode="border", align_corners=False)


def _softened(x: Tensor) -> Tensor:
    """A third of the batch through a lower resolution, a third through a blur of its own strength, a third as it is."""
    low, blurred, sharp = x.tensor_split(3)
    size = int(torch.randint(24, 48, ()))
    low = F.interpolate(F.interpolate(low, size=size, mode="area"), size=x.shape[-1], mode="bilinear")
    smooth = F.avg_pool2d(F.pad(blurred, (1, 1, 1, 1), mode="replicate"), 3, 1)
    blurred = blurred.lerp(smooth, torch.rand(len(blurred), 1, 1, 1))
    return torch.cat([low, blurred, sharp])
