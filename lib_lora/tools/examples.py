"""Pictures that show what a LoRA does: those that its run, its grid and the web UI already have of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from ..adapters.file import read_metadata
from ..errors import UserError
from ..training.run import Run
from ..training.run_store import RunStore
from .card_files import PREVIEWS
from .grid import SHEET, read_grid
from .picks import Pick, read_picks
from .pictures import PARAMETERS
from .prompt_loras import TAG

GRID = "grid"  # folder below a run's
MOST = 60  # pictures that are offered
USUAL = 8  # at most, of those that are chosen at first
_AFTER_PROMPT = re.compile(r"\n(?:Negative prompt: |Steps: )")
_NEGATIVE = re.compile(r"\nNegative prompt: (.*?)(?:\nSteps: |\Z)", re.DOTALL)


@dataclass(frozen=True)
class Example:
    """A picture, and what kind it is of: ``chosen``, ``starred``, ``grid``, ``sample`` or ``preview``."""

    path: Path
    kind: str

    @property
    def prompt(self) -> str:
        """What was asked for, without LoRA tags; empty where the picture does not say."""
        return prompt_of(self.parameters)

    @property
    def negative(self) -> str:
        """Its negative prompt; empty where the picture does not say."""
        found = _NEGATIVE.search(self.parameters)
        return found[1].strip() if found else ""

    @property
    def parameters(self) -> str:
        """The generation parameters in the file."""
        try:
            with Image.open(self.path) as image:
                return str(image.info.get(PARAMETERS) or "")
        except (OSError, ValueError, Image.DecompressionBombError):
            return ""


@dataclass(frozen=True)
class Examples:
    """What there is of a LoRA.

    Attributes:
        run: that it comes from; None for another's file.
        pictures: the most telling first.
        sheet: the whole grid as one picture.
        usual: how many of ``pictures`` one would show.
    """

    run: Run | None
    pictures: tuple[Example, ...]
    sheet: Path | None = None
    usual: int = 0


def prompt_of(parameters: str) -> str:
    """The prompt in generation parameters, without LoRA tags."""
    prompt = _AFTER_PROMPT.split(parameters, maxsplit=1)[0]
    if prompt.startswith(("Steps: ", "Negative prompt: ")):
        return ""
    return re.sub(r"\s+", " ", TAG.sub("", prompt)).strip(" ,")


def examples_of(lora: Path, runs: RunStore) -> Examples:
    """The pictures of a LoRA file: those of its own epoch in the grid and among the samples first, then all others."""
    beside = [Example(path, "preview") for path in map(lora.with_suffix, PREVIEWS) if path.is_file()]
    metadata = _metadata(lora)
    run = run_of(metadata, runs)
    if run is None:
        return Examples(None, tuple(beside), usual=len(beside))
    epoch = int(metadata["ss_epoch"]) if metadata.get("ss_epoch", "").isdigit() else None
    cells, samples = _cells(run.folder / GRID), _samples(run)
    best = [one for kind in ("chosen", "starred") for one, of in cells if one.kind == kind and of == epoch]
    own = [one for one, of in samples if of == epoch]
    rest = [one for one, _ in (*cells, *samples)]
    order = tuple(dict.fromkeys([*best, *own, *beside, *rest]))[:MOST]
    sheet = run.folder / GRID / SHEET
    return Examples(run, order, sheet if sheet.is_file() else None, min(len(best) + len(own) or len(beside), USUAL))


def run_of(metadata: Mapping[str, str], runs: RunStore) -> Run | None:
    """The run that made a file with these metadata, also where it was renamed or tuned since."""
    session = metadata.get("ss_session_id", "")
    return next((run for run in runs.list() if session and str(run.record.session_id) == session), None)


def _metadata(lora: Path) -> dict[str, str]:
    try:
        return read_metadata(lora)
    except UserError:
        return {}


def _cells(folder: Path) -> list[tuple[Example, int | None]]:
    """Pictures of a grid, each with its epoch; at weight 0 they are the base model's."""
    picks = read_picks(folder)
    found: dict[Path, tuple[Example, int | None]] = {}
    for cell in read_grid(folder).get("cells", ()):
        path, pick = folder / cell["image"], Pick(cell["file"], cell["weight"], cell["blocks"])
        if path.is_file() and cell["weight"]:
            kind = "chosen" if pick == picks.chosen else "starred" if pick in picks.stars else "grid"
            found[path] = Example(path, kind), pick.epoch
    return list(found.values())


def _samples(run: Run) -> list[tuple[Example, int | None]]:
    """Samples of a run with their epochs: the newest epoch first, in it the prompts in their order."""
    found = []
    for path in sorted(run.samples.glob("*.png")):
        number = re.match(r"e(\d+)", path.stem)
        found.append((Example(path, "sample"), int(number[1]) if number else None))
    return sorted(found, key=lambda one: -(one[1] or 0))
