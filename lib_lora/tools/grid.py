"""The epoch × weight grid: every LoRA file at every weight, for every prompt and seed.

A file is read once, and its weights share one batch: each sample of the batch has its own multiplier, while prompt and
noise are the same, so that pictures of a column differ by the weight alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Generator
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path

from PIL import Image

from ..adapters.file import model_hash
from ..adapters.network import Network
from ..errors import UserError
from ..files import write_text
from ..models.base import GenerationRequest, Host
from .lora_files import load_network
from .pictures import PARAMETERS, fingerprint, generate_missing, read_png, save_png
from .sheet import Sheet, stacked


@dataclass(frozen=True)
class Candidate:
    """A LoRA file and its heading in the grid, for example the epoch."""

    label: str
    path: Path


@dataclass(frozen=True)
class GridSpec:
    """What to compare.

    Args:
        files: the columns.
        weights: the rows.
        prompts, seeds: one table for each pair of them.
        settings: size, steps, sampler and all else; its prompt, seed and weights do not count.
    """

    files: tuple[Candidate, ...]
    weights: tuple[float, ...]
    prompts: tuple[str, ...]
    seeds: tuple[int, ...] = (1,)
    settings: GenerationRequest = field(default_factory=lambda: GenerationRequest(""))

    def check(self) -> None:
        """Raise :class:`UserError` naming what is missing or double."""
        for name in ("files", "weights", "prompts", "seeds"):
            values = getattr(self, name)
            if not values:
                raise UserError("There is nothing to compare", where=name, fix="Give at least one.")
            if len(set(values)) < len(values):
                raise UserError("The same value is there twice", where=name, fix="Give each once.")

    def cells(self) -> list[Cell]:
        """All cells: file by file, within a file prompt by prompt and seed by seed, all weights beside each other."""
        return [
            Cell(file, weight, prompt, seed)
            for file in self.files
            for prompt in self.prompts
            for seed in self.seeds
            for weight in self.weights
        ]


@dataclass(frozen=True)
class Cell:
    """One picture of a grid."""

    file: Candidate
    weight: float
    prompt: str
    seed: int

    def request(self, settings: GenerationRequest) -> GenerationRequest:
        """How to generate it, with the file's network attached."""
        return replace(settings, prompt=self.prompt, seed=self.seed, weights=(self.weight,))


@dataclass(frozen=True)
class CellDone:
    """Yielded for each cell. ``kept``: the picture was there already. ``done`` of ``total`` cells are there now."""

    cell: Cell
    path: Path
    image: Image.Image
    kept: bool
    done: int
    total: int


def make_grid(
    host: Host, spec: GridSpec, folder: Path, cancelled: Callable[[], bool] | None = None
) -> Generator[CellDone, None, Path]:
    """Generate what is not in ``folder`` yet, yielding each cell; returns the path of the sheet.

    The folder gets ``cells/``, ``grid.png`` and ``grid.json``. A picture is kept when nothing it depends on has
    changed: model, LoRA file and settings are part of its name.

    Raises:
        UserError: no model, an empty spec, or a LoRA that is damaged or does not fit.
        Cancelled: as ``host.generate``; what is done stays.
    """
    spec.check()
    cells = spec.cells()
    paths = _paths(host, spec, folder / "cells")
    _describe(host, spec, paths, folder)
    done = 0
    for file in spec.files:
        column = {paths[cell]: cell for cell in cells if cell.file == file}
        wanted = [(path, cell.request(spec.settings)) for path, cell in column.items()]
        for made in generate_missing(host, wanted, partial(_networks, file), cancelled):
            done += 1
            yield CellDone(column[made.path], made.path, made.image, made.kept, done, len(cells))
    return save_png(draw_grid(spec, {cell: read_png(path) for cell, path in paths.items()}), folder / "grid.png")


def draw_grid(spec: GridSpec, pictures: dict[Cell, Image.Image]) -> Image.Image:
    """The contact sheet: files from left to right, weights from top to bottom, a table for each prompt and seed."""
    tables = []
    for prompt in spec.prompts:
        for seed in spec.seeds:
            rows = [[pictures.get(Cell(file, weight, prompt, seed)) for file in spec.files] for weight in spec.weights]
            headings = [file.label for file in spec.files]
            tables.append(Sheet(rows, headings, [f"{w:g}" for w in spec.weights], f"{prompt}  (seed {seed})").draw())
    sheet = stacked(tables)
    sheet.info[PARAMETERS] = next(iter(pictures.values())).info.get(PARAMETERS, "")
    return sheet


def _networks(file: Candidate) -> tuple[Network]:
    return (load_network(file.path),)


def _paths(host: Host, spec: GridSpec, folder: Path) -> dict[Cell, Path]:
    """Where each cell's picture is; the name ends in a fingerprint of all that it depends on.

    At weight 0 that is the model alone, so all files share one picture.
    """
    hashes = {file: model_hash(file.path) for file in spec.files}
    paths = {}
    for cell in spec.cells():
        digest = fingerprint(host, hashes[cell.file] if cell.weight else None, cell.request(spec.settings))
        label = re.sub(r"[^\w-]+", "_", cell.file.label) if cell.weight else "base"
        paths[cell] = folder / f"{label}_w{cell.weight:g}_s{cell.seed}_{digest}.png"
    return paths


def _describe(host: Host, spec: GridSpec, paths: dict[Cell, Path], folder: Path) -> None:
    """Write ``grid.json``, by which a page finds the pictures again."""
    cells = [
        {"file": cell.file.label, "weight": cell.weight, "prompt": cell.prompt, "seed": cell.seed,
         "image": path.relative_to(folder).as_posix()}
        for cell, path in paths.items()
    ]  # fmt: skip
    document = {
        "model": host.info().name,
        "files": [{"label": file.label, "path": str(file.path)} for file in spec.files],
        "weights": spec.weights,
        "prompts": spec.prompts,
        "seeds": spec.seeds,
        "settings": asdict(spec.settings),
        "cells": cells,
    }
    write_text(folder / "grid.json", json.dumps(document, indent=1, ensure_ascii=False))
