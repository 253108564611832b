"""How well does the miniature follow its prompts? Measured by the judge on random single-character specs."""

from __future__ import annotations

import random
from pathlib import Path

from PIL import Image

from lib_lora.models.base import GenerationRequest, HostPaths

from ...hosts.standalone.host import StandaloneHost
from ..judge import Judge, agreement
from ..world import Spec, random_spec, tags

CFG = 4.0


def specs_for_scoring(count: int, seed: int = 777) -> list[Spec]:
    """``count`` pictures to ask for, the same for one seed; one person in each."""
    r = random.Random(seed)
    return [random_spec(r, people=1) for _ in range(count)]


def score(
    checkpoint: Path, count: int = 256, steps: int = 20, cfg: float = CFG, sheet: Path | None = None
) -> dict[str, float | int]:
    """Share of attributes that came out as asked, over ``count`` prompts (DPM++ 2M, 20 steps).

    Returns:
        ``hair``, ``hat``, ``outfit``, ``background``, ``style``, … in 0 … 1, and ``n``, the number of prompts.
    """
    folder = checkpoint.parent
    host = StandaloneHost(HostPaths(loras=folder, checkpoints=folder, runs=folder, data=folder))
    host.load(checkpoint.stem)
    specs = specs_for_scoring(count)
    requests = [
        GenerationRequest(
            prompt=", ".join(tags(s)), width=128, height=128, steps=steps, cfg=cfg, seed=i, sampler="DPM++ 2M"
        )
        for i, s in enumerate(specs)
    ]
    images = host.generate(requests)
    shares = agreement(Judge.load().read(images), specs)
    if sheet is not None:
        contact_sheet(images[:40], sheet)
    people = shares.pop("n", None)
    return {**shares, "people": people, "n": count}


def contact_sheet(images: list[Image.Image], path: Path, columns: int = 8, scale: int = 1) -> None:
    """Save images of one size side by side, ``columns`` in a row, each side ``scale`` times as long."""
    w, h = images[0].size
    rows = -(-len(images) // columns)
    sheet = Image.new("RGB", (columns * (w + 2), rows * (h + 2)), (255, 255, 255))
    for i, image in enumerate(images):
        sheet.paste(image, (i % columns * (w + 2), i // columns * (h + 2)))
    sheet.resize((sheet.width * scale, sheet.height * scale), Image.Resampling.LANCZOS).save(path)
