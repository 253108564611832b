"""Where a grid is kept and what it compares: the epochs of a run, LoRA files, or what an earlier grid compared."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from lib_lora.errors import UserError
from lib_lora.tools.grid import SHEET, read_grid
from lib_lora.tools.grid_spec import Candidate
from lib_lora.tools.picks import Pick, Picks, choose, give_star, read_picks
from lib_lora.tools.pictures import read_png
from lib_lora.training.config import TrainConfig
from lib_lora.training.run import Run
from lib_lora.ui.poll import Watched
from lib_lora.workbench import EpochFile, Workbench

FILES = "LoRA files, without a run"  # among the names of runs
SAVED = "Grid "  # before the name of a grid of a sweep, or of the command line
FOLDER = "grid"  # below a run's
LORAS = "loras"  # folder of the grid of FILES, among those of other grids


def saved_grids(workbench: Workbench) -> Watched[list[str]]:
    """The grids that belong to no run."""
    root = grids_folder(workbench)
    return Watched(lambda: [SAVED + path.name for path in sorted(root.glob("*")) if path.name != LORAS], root)


def grids_folder(workbench: Workbench) -> Path:
    """The folder of the grids that belong to no run."""
    return workbench.host.paths.places.grids


@dataclass(frozen=True)
class GridPlace:
    """The grid of the run ``name``, of :data:`FILES`, or one of :func:`saved_grids`."""

    workbench: Workbench
    name: str

    @property
    def run(self) -> Run | None:
        """Raises UserError where there is no such run (any more)."""
        return self.workbench.runs.open(self.name) if self.of_run else None

    @property
    def of_run(self) -> bool:
        """Whether it belongs to a run."""
        return self.name != FILES and not self.name.startswith(SAVED)

    @property
    def folder(self) -> Path:
        """Of the grid; UserError where its run is gone."""
        if self.of_run:
            return self.run.folder / FOLDER
        return grids_folder(self.workbench) / (LORAS if self.name == FILES else self.name.removeprefix(SAVED))

    def config(self) -> TrainConfig | None:
        """The settings of the run."""
        return self.run.config() if self.of_run else None

    def epochs(self) -> list[EpochFile]:
        """Those that are saved."""
        return self.workbench.epoch_files(self.name) if self.of_run else []

    def candidates(self) -> list[Candidate]:
        """What it compares by itself: what a run saved, ``e4`` by epoch and ``s500`` by step, in the order of training;
        or the files of the grid that is there; of FILES nothing."""
        if self.of_run:
            found = [(saved.step, Candidate(f"e{saved.epoch}", saved.path)) for saved in self.epochs()]
            steps = self.workbench.step_files(self.name)
            found += [(saved.step, Candidate(f"s{saved.step}", saved.path)) for saved in steps]
            return [candidate for _, candidate in sorted(found, key=lambda item: item[0])]
        files = [] if self.name == FILES else self.read().get("files", [])
        return [Candidate(file["label"], Path(file["path"])) for file in files if Path(file["path"]).is_file()]

    def read(self) -> dict[str, Any]:
        """``grid.json``; empty if there is none yet."""
        return read_grid(self.folder)

    # -- what the user thinks -----------------------------------------------------------------------------------------

    def picks(self) -> Picks:
        """Stars and the choice."""
        return read_picks(self.folder)

    def choose(self, pick: Pick) -> None:
        """Remember the choice, with the run too where it is one of its epochs."""
        choose(self.folder, pick)
        if self.run is not None and (epoch := self._epoch_of(pick)) is not None:
            self.run.choose(epoch, pick.weight)

    def _epoch_of(self, pick: Pick) -> int | None:
        """By the file that the grid drew, for a LoRA beside the epochs may be called ``e4`` too."""
        drawn = {file["label"]: Path(file["path"]).name for file in self.read().get("files", ())}
        saved = (e for e in self.epochs() if e.epoch == pick.epoch)
        return next((e.epoch for e in saved if drawn.get(pick.file, e.path.name) == e.path.name), None)

    def star(self, pick: Pick) -> None:
        """Give a cell a star, or take it away."""
        give_star(self.folder, pick)

    def chosen(self) -> Pick:
        """The chosen cell.

        Raises:
            UserError: there is none.
        """
        chosen = self.picks().chosen
        if chosen is None:
            raise UserError("No cell is chosen", fix="Click a picture of the grid")
        return chosen

    def prompt_of(self, pick: Pick) -> str:
        """The grid's first prompt with a tag for the cell's file, as txt2img takes it."""
        prompt = next(iter(self.read().get("prompts", ())), "")
        weights = self.blocks(pick)
        return f"{prompt} <lora:{self.source(pick).stem}:{pick.weight:g}{f':lbw={weights}' if weights else ''}>"

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
