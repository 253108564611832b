"""Asking twice makes one: a training owns its name and its run from the queue to its end, in all processes."""

from __future__ import annotations

import hashlib
from pathlib import Path

from lib_lora.errors import UserError
from lib_lora.ownership import Claim, Taken
from lib_lora.training.run import Run

FOLDER = ".claims"  # among the runs
OWNER = "owner.lock"  # in a run's folder


def claim_name(runs: Path, name: str) -> Claim:
    """Own the name of a LoRA that is to be trained.

    Args:
        runs: the folder of all runs, which other processes may work in too.

    Raises:
        UserError: a training of that name is running or waiting.
    """
    digest = hashlib.sha256(name.casefold().encode("utf-8", "surrogatepass")).hexdigest()[:24]
    try:
        return Claim(runs / FOLDER / f"{digest}.lock")
    except Taken as taken:
        what = f"A training of that name is running or in the queue ({taken.owner or 'another process'})"
        raise UserError(what, where=name, fix="Wait for it, or choose another name") from None


def claim_run(run: Run) -> Claim:
    """Own a run, to train it or to change its files.

    Raises:
        UserError: it is being trained, or waits to be, here or elsewhere; or its folder is gone.
    """
    if not run.folder.is_dir():
        raise UserError("There is no such run", where=run.id, fix="Refresh the list of runs")
    try:
        return Claim(run.folder / OWNER)
    except Taken as taken:
        what = f"This run is being trained or in the queue already ({taken.owner or 'another process'})"
        raise UserError(what, where=run.id, fix="Stop it first") from None
