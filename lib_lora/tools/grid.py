"""Grids of pictures: LoRA files, weights, block weights, prompts and seeds, compared cell by cell.

A file is read once, and its weights share one batch: each sample of the batch has its own multiplier, while prompt and
noise are the same, so that pictures of a column differ by the weight alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Generator, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

from PIL import Image

from lib_lora.lora_files import load_network, remarks_on
from lib_lora.models.base import Host

from ..adapters.blocks import BlockWeights
from ..adapters.file import model_hash
from ..adapters.network import Network
from ..files import write_text
from ..small_files import listed, mapping, number, path, text, tolerated, whole
from .grid_spec import BlockChoice, Candidate, Cell, GridSpec
from .pictures import PARAMETERS, fingerprint, generate_missing, read_png, save_png
from .sheet import Sheet, captioned, stacked

RECORD, SHEET = "grid.json", "grid.png"


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
    changed: model, LoRA file, block weights and settings are part of its name.

    Raises:
        UserError: no model, an empty spec, or a LoRA that is damaged or does not fit.
        Cancelled: as ``host.generate``; what is done stays.
    """
    spec.check()
    cells = spec.cells()
    paths = _paths(host, spec, folder / "cells")
    _describe(host, spec, paths, folder)
    done = 0
    for (file, blocks), column in groupby(cells, key=lambda cell: (cell.file, cell.blocks)):
        by_path = {paths[cell]: cell for cell in column}
        wanted = [(path, cell.request(spec.settings)) for path, cell in by_path.items()]
        for made in generate_missing(host, wanted, partial(_networks, file, blocks), cancelled):
            done += 1
            yield CellDone(by_path[made.path], made.path, made.image, made.kept, done, len(cells))
    info = host.info()
    pictures = {cell: read_png(path) for cell, path in paths.items()}
    return save_png(draw_grid(spec, pictures, "" if info is None else info.name), folder / SHEET)


def draw_grid(spec: GridSpec, pictures: Mapping[Cell, Image.Image], model: str = "") -> Image.Image:
    """The contact sheet: one table below the other, and below all what they were drawn with, in words."""
    sheets = [
        Sheet([[pictures.get(cell) for cell in row] for row in table.cells], table.columns, table.rows, table.title)
        for table in spec.tables()
    ]
    sheet = captioned(stacked([one.draw() for one in sheets]), spec.words(model))
    sheet.info[PARAMETERS] = next(iter(pictures.values())).info.get(PARAMETERS, "")
    return sheet


def _networks(file: Candidate, blocks: BlockChoice) -> tuple[Network]:
    network = load_network(file.path)
    if blocks.weights:
        of = network.families[0] if network.families else None
        network.set_block_weights(BlockWeights.parse(blocks.weights, {}, of))
        network.lbw = blocks.weights
    return (network,)


def _paths(host: Host, spec: GridSpec, folder: Path) -> dict[Cell, Path]:
    """Where each cell's picture is; the name ends in a fingerprint of all that it depends on.

    At weight 0 that is the model alone, so all files and block weights share one picture.
    """
    hashes = {file: model_hash(file.path) for file in spec.files}
    paths = {}
    for cell in spec.cells():
        blocks = [cell.blocks.weights] if cell.weight and cell.blocks.weights else []
        digest = fingerprint(host, hashes[cell.file] if cell.weight else None, cell.request(spec.settings), *blocks)
        label = re.sub(r"[^\w-]+", "_", cell.file.label) if cell.weight else "base"
        paths[cell] = folder / f"{label}_w{cell.weight:g}_s{cell.seed}_{digest}.png"
    return paths


def read_grid(folder: Path) -> dict[str, Any]:
    """``grid.json`` of the grid in ``folder``; empty if there is none, or it is damaged."""
    return tolerated(folder / RECORD, grid_record, {})


def grid_record(content: Any) -> dict[str, Any]:
    """What :func:`_describe` wrote, made sure of as far as it is shown; ValueError and the like for anything else."""
    grid, count = mapping(content), len(content["cells"])
    for side in ("width", "height"):
        whole(grid["settings"][side], 1)
    for name in ("columns", "rows"):
        text(grid[name])
    for file in grid["files"]:
        text(file["label"]), path(file["path"])
    for cell in grid["cells"]:
        text(cell["file"]), number(cell["weight"]), text(cell["blocks"]), text(cell["prompt"]), whole(cell["seed"])
        if Path(path(cell["image"])).is_absolute() or ".." in Path(cell["image"]).parts:
            raise ValueError("a picture lies elsewhere")
    for table in grid["tables"]:
        text(table["title"])
        columns, rows = (listed(table[name], text) for name in ("columns", "rows"))
        shape = [[whole(index) for index in row] for row in table["cells"]]
        if [len(row) for row in shape] != [len(columns)] * len(rows) or any(i >= count for row in shape for i in row):
            raise ValueError("a table does not fit its cells")
    listed(grid.get("prompts", []), text), listed(grid.get("remarks", []), text)
    return grid


def _describe(host: Host, spec: GridSpec, paths: dict[Cell, Path], folder: Path) -> None:
    """Write ``grid.json``, by which a page finds the pictures again and shows them as the sheet does."""
    numbers = {cell: number for number, cell in enumerate(paths)}
    cells = [
        {"file": cell.file.label, "weight": cell.weight, "prompt": cell.prompt, "seed": cell.seed,
         "blocks": cell.blocks.label, "image": path.relative_to(folder).as_posix()}
        for cell, path in paths.items()
    ]  # fmt: skip
    tables = [
        {"title": table.title, "columns": table.columns, "rows": table.rows,
         "cells": [[numbers[cell] for cell in row] for row in table.cells]}
        for table in spec.tables()
    ]  # fmt: skip
    info = host.info()
    document = {
        "model": "" if info is None else info.name,
        "files": [{"label": file.label, "path": str(file.path)} for file in spec.files],
        "remarks": remarks_on({file.label: file.path for file in spec.files}),
        "weights": spec.weights,
        "prompts": spec.prompts,
        "seeds": spec.seeds,
        "blocks": [asdict(choice) for choice in spec.blocks],
        "columns": spec.columns,
        "rows": spec.rows,
        "settings": asdict(spec.settings),
        "cells": cells,
        "tables": tables,
    }
    write_text(folder / RECORD, json.dumps(document, indent=1, ensure_ascii=False))
