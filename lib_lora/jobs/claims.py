"""Asking twice makes one: a training owns its name and its run from the queue to its end, in all processes.

The name is owned in the folder of LoRAs, which several installations may share.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from lib_lora.errors import UserError
from lib_lora.files import naming_refusals
from lib_lora.ownership import Claim, Taken
from lib_lora.training.run import Run

NAMES = ".lw-*.lock"  # among the LoRAs; a folder of its own would be shown by web UIs
OWNER = "owner.lock"  # in a run's folder


def claim_name(loras: Path, name: str) -> Claim:
    """Own the name of a LoRA that is to be trained.

    Args:
        loras: the folder that it will be written to.

    Raises:
        UserError: a training of that name is running or waiting, or the folder cannot be written.
    """
    digest = hashlib.sha256(name.casefold().encode("utf-8", "surrogatepass")).hexdigest()[:24]
    try:
        return Claim(loras / NAMES.replace("*", digest))
    except Taken as taken:
        what = f"A training of that name is running or in the queue ({taken.owner or 'another process'})"
        raise UserError(what, where=name, fix="Wait for it, or choose another name") from None
    except OSError as error:
        what = f"The LoRA folder cannot be written ({error.strerror or error})"
        raise UserError(what, where=loras, fix="Check the folder and its permissions") from error


def claim_run(run: Run) -> Claim:
    """Own a run, to train it or to change its files.

    Raises:
        UserError: it is being trained, or waits to be, here or elsewhere; or its folder is gone, or read-only.
    """
    if not run.folder.is_dir():
        raise UserError("There is no such run", where=run.id, fix="Refresh the list of runs")
    try:
        with naming_refusals(run.folder / OWNER):
            return Claim(run.folder / OWNER)
    except Taken as taken:
        what = f"This run is being trained or in the queue already ({taken.owner or 'another process'})"
        raise UserError(what, where=run.id, fix="Stop it first") from None
