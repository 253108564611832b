"""What a block scan found: as rows, as a table file, as a heat map, and as a guess at what each block is for."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ..files import write_text
from .pictures import save_png

OUTLINE = 32  # pixels a side at which two pictures are compared by their shapes
CELL, LABEL, HEAD = 44, 130, 26  # pixels of the heat map
PALE, STRONG, INK = np.array((244, 246, 252)), np.array((38, 70, 160)), (32, 32, 40)
_LUMINANCE = np.array((0.299, 0.587, 0.114), dtype=np.float32)
COLUMNS = ("block", "layers", "image", "image spread", "latent", "latent spread", "style", "shapes")


@dataclass(frozen=True)
class BlockStrength:
    """One block. Shares of the whole LoRA's effect that go when the block is switched off.

    Attributes:
        layers: of the file in this block.
        image, latent: per seed.
        style: in colours, contrast and texture; mean over seeds.
        shape: in large shapes of light and dark; mean over seeds.
    """

    block: str
    layers: int
    image: tuple[float, ...]
    latent: tuple[float, ...]
    style: float
    shape: float

    def row(self) -> tuple[str, int, float, float, float, float, float, float]:
        """In the order of ``COLUMNS``; a spread is the standard deviation over seeds."""
        return (
            self.block, self.layers, float(np.mean(self.image)), float(np.std(self.image)),
            float(np.mean(self.latent)), float(np.std(self.latent)), self.style, self.shape,
        )  # fmt: skip


@dataclass(frozen=True)
class BlockScan:
    """A scan of one LoRA; ``rows`` in the order of the blocks."""

    name: str
    seeds: tuple[int, ...]
    rows: tuple[BlockStrength, ...]

    def by_strength(self) -> list[BlockStrength]:
        """Strongest in pictures first."""
        return sorted(self.rows, key=lambda row: -float(np.mean(row.image)))

    def holders(self, part: str, share: float = 0.6) -> list[str]:
        """The fewest blocks that together hold ``share`` of the LoRA's ``"style"`` or ``"shape"``, strongest first."""
        found, sum_so_far = [], 0.0
        total = sum(getattr(row, part) for row in self.rows)
        for row in sorted(self.rows, key=lambda row: -getattr(row, part)):
            if sum_so_far >= share * total:
                break
            found.append(row.block)
            sum_so_far += getattr(row, part)
        return found

    def table(self) -> str:
        """As comma-separated text with a heading."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(COLUMNS)
        for row in self.rows:
            writer.writerow([f"{value:.5f}" if isinstance(value, float) else value for value in row.row()])
        return text.getvalue()

    def heat_map(self) -> Image.Image:
        """Blocks from left to right, below each its share per seed in pictures and predictions, and its parts."""
        lines = [(f"image, seed {seed}", [row.image[i] for row in self.rows]) for i, seed in enumerate(self.seeds)]
        lines += [(f"latent, seed {seed}", [row.latent[i] for row in self.rows]) for i, seed in enumerate(self.seeds)]
        lines += [("style", [row.style for row in self.rows]), ("shapes", [row.shape for row in self.rows])]
        map_ = Image.new("RGB", (LABEL + CELL * len(self.rows), HEAD + CELL * len(lines)), (255, 255, 255))
        draw, font = ImageDraw.Draw(map_), ImageFont.load_default()
        for x, row in enumerate(self.rows):
            draw.text((LABEL + CELL * x + CELL // 2, HEAD // 2), row.block, INK, font, anchor="mm")
        for y, (label, values) in enumerate(lines):
            draw.text((8, HEAD + CELL * y + CELL // 2), label, INK, font, anchor="lm")
            for x, value in enumerate(values):
                _draw_cell(draw, font, (LABEL + CELL * x, HEAD + CELL * y), value, max(values))
        return map_

    def save(self, folder: Path) -> tuple[Path, Path]:
        """Write ``NAME.csv`` and ``NAME.png``; a newer scan of the same LoRA takes their place."""
        write_text(folder / f"{self.name}.csv", self.table())
        return folder / f"{self.name}.csv", save_png(self.heat_map(), folder / f"{self.name}.png")


def style_of(pixels: np.ndarray) -> np.ndarray:
    """Colours, contrast and texture of a picture [h, w, 3] in 0..1, wherever in it: nine numbers.

    They are the mean and spread of each channel and the share of each in steps between neighbouring pixels.
    """
    steps = np.abs(np.diff(pixels, axis=0)).mean((0, 1)) + np.abs(np.diff(pixels, axis=1)).mean((0, 1))
    return np.concatenate([pixels.mean((0, 1)), pixels.std((0, 1)), steps])


def shape_of(image: Image.Image) -> np.ndarray:
    """Large shapes of a picture, whatever its colours and contrast: its luminance, small and of mean 0 and spread 1."""
    small = np.asarray(image.convert("RGB").resize((OUTLINE, OUTLINE), Image.Resampling.BOX), dtype=np.float32)
    light = small @ _LUMINANCE
    shape: np.ndarray = (light - light.mean()) / max(float(light.std()), 1e-3)
    return shape


def _draw_cell(draw: ImageDraw.ImageDraw, font: Any, corner: tuple[int, int], value: float, strongest: float) -> None:
    depth = value / strongest if strongest > 0 else 0.0
    colour = tuple(int(c) for c in PALE + (STRONG - PALE) * depth)
    x, y = corner
    draw.rectangle((x, y, x + CELL - 2, y + CELL - 2), fill=colour)
    ink = (255, 255, 255) if depth > 0.5 else INK
    draw.text((x + CELL // 2, y + CELL // 2), f"{value:.0%}", ink, font, anchor="mm")
