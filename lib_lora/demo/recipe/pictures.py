"""Render the training world once: square and wide pictures with their specs."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ..world import Spec, random_spec, render
from .styles import random_style


@dataclass
class Pictures:
    """Rendered pictures of one size. ``pixels`` is uint8 [n, height, width, 3]."""

    pixels: np.ndarray
    specs: list[Spec]

    def tensor(self, index: list[int] | slice) -> torch.Tensor:
        """Pictures as float [b, 3, h, w] in [-1, 1], channels last in memory."""
        x = torch.from_numpy(np.ascontiguousarray(self.pixels[index])).permute(0, 3, 1, 2)
        return x.float().div(127.5).sub(1).contiguous(memory_format=torch.channels_last)


def prepare(folder: Path, count: int, seed: int = 1, restyled: bool = False) -> dict[str, Pictures]:
    """Render ``count`` pictures into ``folder`` unless they are there; return them by "square" and "wide".

    Args:
        folder: for the state of the recipe.
        count: pictures.
        seed: of what they show.
        restyled: each in a random style of its own, in place of one of the world's.
    """
    target = folder / f"{'styles' if restyled else 'pictures'}-{seed}-{count}"
    if not (target / "specs.json").exists():
        _render_all(target, count, seed, restyled)
    specs = json.loads((target / "specs.json").read_text(encoding="utf-8"))
    return {
        kind: Pictures(np.load(target / f"{kind}.npy", mmap_mode="r"), [Spec.from_dict(s) for s in specs[kind]])
        for kind in specs
    }


def _render_all(target: Path, count: int, seed: int, restyled: bool) -> None:
    target.mkdir(parents=True, exist_ok=True)
    r, styles = random.Random(seed), random.Random(f"styles {seed}")
    groups: dict[str, list[Spec]] = {"square": [], "wide": []}
    for _ in range(count):
        spec = random_spec(r)
        groups["square" if spec.size[0] == spec.size[1] else "wide"].append(spec)
    for kind, specs in groups.items():
        drawn = [np.asarray(render(s, random_style(styles) if restyled else None)) for s in specs]
        np.save(target / f"{kind}.npy", np.stack(drawn))
    dump = {kind: [s.to_dict() for s in specs] for kind, specs in groups.items()}
    (target / "specs.json").write_text(json.dumps(dump), encoding="utf-8")
