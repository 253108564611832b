"""Where a grid is kept and what it compares: the epochs of a run, or LoRA files without a run."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from lib_lora.errors import UserError
from lib_lora.tools.grid import RECORD, SHEET
from lib_lora.tools.picks import Pick, Picks, read_picks, write_picks
from lib_lora.tools.pictures import read_png
from lib_lora.training.config import TrainConfig
from lib_lora.training.run_store import Run
from lib_lora.workbench import EpochFile, Workbench

FILES = "LoRA files, without a run"  # among the names of runs
FOLDER = "grid"  # below a run's


@dataclass(frozen=True)
class GridPlace:
    """The grid of the run ``name``, or of :data:`FILES`."""

    workbench: Workbench
    name: str

    @property
    def run(self) -> Run | None:
        """Raises UserError where there is no such run (any more)."""
        return None if self.name == FILES else self.workbench.runs.open(self.name)

    @property
    def folder(self) -> Path:
        run = self.run
        return self.workbench.host.paths.data / "grids" / "loras" if run is None else run.folder / FOLDER

    def config(self) -> TrainConfig | None:
        """The settings of the run."""
        return None if self.run is None else self.run.config()

    def epochs(self) -> list[EpochFile]:
        """Those that are saved."""
        return [] if self.name == FILES else self.workbench.epoch_files(self.name)

    def read(self) -> dict[str, Any]:
        """``grid.json``; empty if there is none yet."""
        try:
            grid = json.loads((self.folder / RECORD).read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return {}
        return grid if "tables" in grid else {}

    # -- what the user thinks -----------------------------------------------------------------------------------------

    def picks(self) -> Picks:
        return read_picks(self.folder)

    def choose(self, pick: Pick) -> None:
        """Remember the choice, with the run too where it is one of its epochs."""
        write_picks(self.folder, Picks(self.picks().stars, pick))
        if self.run is not None and pick.epoch in [e.epoch for e in self.epochs()]:
            self.run.choose(pick.epoch, pick.weight)

    def star(self, pick: Pick) -> None:
        """Give a cell a star, or take it away."""
        write_picks(self.folder, self.picks().starred(pick))

    def chosen(self) -> Pick:
        """The chosen cell.

        Raises:
            UserError: there is none.
        """
        chosen = self.picks().chosen
        if chosen is None:
            raise UserError("No cell is chosen", fix="Click a picture of the grid")
        return chosen

    # -- its files ----------------------------------------------------------------------------------------------------

    def source(self, pick: Pick) -> Path:
        """The LoRA file of a cell.

        Raises:
            UserError: it is gone.
        """
        for file in self.read().get("files", ()):
            if file["label"] == pick.file and Path(file["path"]).is_file():
                return Path(file["path"])
        raise UserError(f"The file of {pick} is gone", where=self.name, fix="Choose another cell")

    def blocks(self, pick: Pick) -> str:
        """The block weights of a cell, as text; empty where all are 1."""
        return next((b["weights"] for b in self.read().get("blocks", ()) if b["label"] == pick.blocks), "")

    def sheet(self) -> Image.Image:
        """The whole grid as one picture.

        Raises:
            UserError: the grid is not complete.
        """
        if not (self.folder / SHEET).is_file():
            raise UserError("The grid is not complete", fix="Make it to the end, or take the chosen picture")
        return read_png(self.folder / SHEET)

    def picture(self, pick: Pick) -> Image.Image:
        """The first picture of a cell, for the first prompt and seed."""
        for cell in self.read().get("cells", ()):
            path = self.folder / cell["image"]
            if Pick(cell["file"], cell["weight"], cell["blocks"]) == pick and path.is_file():
                return read_png(path)
        raise UserError(f"There is no picture of {pick}", fix="Make the grid, or choose another cell")
