"""Training pictures that the tour renders: a character the model has never seen, and a style it has never seen."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

from PIL import Image

from ...files import write_text
from ...tools.pictures import save_png
from ..world import MIRA, Spec, jittered, random_spec, render, tags


def character_specs(count: int, seed: int = 0) -> list[Spec]:
    """Mira in different views, poses and places."""
    r = random.Random(seed)
    return [jittered(Spec((MIRA,)), r) for _ in range(count)]


def style_specs(style: str, count: int, seed: int = 0) -> list[Spec]:
    """Random single characters, all drawn in ``style``."""
    r = random.Random(seed)
    return [replace(random_spec(r, people=1), style=style) for _ in range(count)]


def character_caption(spec: Spec) -> str:
    """Only what shall stay free to change: the character's own features are left to the trigger."""
    c = MIRA
    own = {f"{c.hair} hair", c.hairstyle, f"{c.eyes} eyes", f"{c.top} {c.outfit}", f"{c.hat_color} {c.hat}"}
    return ", ".join(tag for tag in tags(spec) if tag not in own)


def style_caption(spec: Spec) -> str:
    """Everything but the style."""
    return ", ".join(tag for tag in tags(spec) if tag != spec.style)


def write_dataset(folder: Path, specs: list[Spec], captions: list[str]) -> list[Image.Image]:
    """Render pictures with captions beside them; the same specs always give the same files."""
    pictures = [render(spec) for spec in specs]
    for number, (picture, caption) in enumerate(zip(pictures, captions, strict=True), start=1):
        path = folder / f"{number:02}.png"
        if not path.exists():
            write_text(path.with_suffix(".txt"), caption)
            save_png(picture, path)
    return pictures
