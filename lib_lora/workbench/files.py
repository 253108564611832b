"""The files that the user chooses from: LoRAs, and the saved epochs of a run."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from glob import escape
from pathlib import Path

from lib_lora.adapters.file import read_metadata
from lib_lora.errors import UserError
from lib_lora.lora_files import Folders, list_loras
from lib_lora.names import steps_of
from lib_lora.training.run import Run


@dataclass(frozen=True)
class LoraEntry:
    """A LoRA file; ``name`` is what formulas and prompts call it."""

    name: str
    path: Path

    @cached_property
    def metadata(self) -> dict[str, str]:
        """What the file says about itself; nothing where it is damaged."""
        try:
            return read_metadata(self.path)
        except UserError:
            return {}  # whoever opens the file is told what is wrong with it


@dataclass(frozen=True)
class EpochFile:
    """A saved epoch of a run. ``best``: it has the lowest fixed-noise loss of the run."""

    epoch: int
    step: int
    path: Path
    running_loss: float | None
    fixed_loss: float | None
    best: bool


@dataclass(frozen=True)
class StepFile:
    """What a run saved within an epoch, by its step."""

    step: int
    path: Path


def lora_entries(folders: Folders) -> list[LoraEntry]:
    """All LoRA files of the folders, by name."""
    files = sorted(list_loras(folders).items(), key=lambda item: item[0].casefold())
    return [LoraEntry(name, path) for name, path in files]


def step_files(run: Run, folder: Path) -> list[StepFile]:
    """The steps of a run that have a file of their own in ``folder``, in order, but for those where an epoch ends."""
    ends = {saved.step for saved in epoch_files(run)}
    files = {path.stem: path for path in folder.glob(f"{escape(run.config().name)}-step*.safetensors")}
    found = steps_of(run.config().name, files)
    return [StepFile(step, files[name]) for step, name in found.items() if step not in ends]


def epoch_files(run: Run) -> list[EpochFile]:
    """The epochs of a run whose LoRA files still exist, in order."""
    rows = [(row, Path(row.get("lora_path") or "")) for row in run.epochs()]
    rows = [(row, path) for row, path in rows if path.is_file()]
    losses = [row.get("fixed_loss") for row, _ in rows]
    lowest = min((loss for loss in losses if loss is not None), default=None)
    best = [loss is not None and loss == lowest for loss in losses]
    return [
        EpochFile(row["epoch"], row["step"], path, row.get("running_loss"), loss, is_best)
        for (row, path), loss, is_best in zip(rows, losses, best, strict=True)
    ]
