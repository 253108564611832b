"""What can be asked of a run afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from lib_lora.access import admit
from lib_lora.adapters.formula import Term, render
from lib_lora.errors import UserError
from lib_lora.jobs.revisit_jobs import InfluenceJob, MixtureJob
from lib_lora.tools.influence import Shown
from lib_lora.tools.mixture import Mixture
from lib_lora.training.data import leaving_out
from lib_lora.training.run import Run
from lib_lora.workbench.files import EpochFile
from lib_lora.workbench.workbench import Workbench

MOST = 10  # epochs that are mixed: those of the lowest loss


def find_mixture(workbench: Workbench, run_id: str, pictures: str = "") -> int:
    """Queue the search for the best mixture of a run's epochs; returns the job's id.

    Args:
        pictures: folder of held-out pictures; empty: those that the run held out.

    Raises:
        UserError: there are none, or fewer than two epochs.
    """
    run, files = workbench.runs.open(run_id), workbench.epoch_files(run_id)
    if len(files) < 2:
        raise UserError("A mixture needs two saved epochs", where=run_id, fix="Train with Save every at 1")
    if pictures:
        admit(Path(pictures), "pictures")
    elif not run.config().validation_split:
        fix = "Train with a held-out share, or name a folder of other pictures with captions"
        raise UserError("The run held no pictures out", where=run_id, fix=fix)
    losses = {row["epoch"]: row.get("validation_loss") for row in run.epochs()}

    def loss(file: EpochFile) -> float:
        known = losses.get(file.epoch)
        return float("inf") if known is None else float(known)

    chosen = sorted(files, key=loss)[:MOST]
    job = MixtureJob(workbench.queue, run, {file.epoch: file.path for file in chosen}, pictures)
    return workbench.queue.submit(job)


def mixture_of(run: Run) -> Mixture | None:
    """That was found last; None before."""
    found = run.mixture()
    return Mixture(**found) if found else None


def mixture_formula(workbench: Workbench, run_id: str) -> str:
    """The mixture that was found last, as Merge has it.

    Raises:
        UserError: none was found, or an epoch's file is gone.
    """
    found = mixture_of(workbench.runs.open(run_id))
    if found is None:
        raise UserError("No mixture was looked for yet", where=run_id, fix="Press Best mixture first")
    names = {file.epoch: file.path.stem for file in workbench.epoch_files(run_id)}
    if gone := [epoch for epoch in found.weights if epoch not in names]:
        raise UserError(f"The file of epoch {gone[0]} is gone", where=run_id, fix="Look for the best mixture again")
    return render([Term(names[epoch], weight) for epoch, weight in found.weights.items()])


def find_influence(
    workbench: Workbench, run_id: str, wrong: Sequence[Shown], about: str, right: Sequence[Shown] = ()
) -> int:
    """Queue the question which training pictures did what is wrong in some pictures, and not in ``right``; returns the
    job's id.

    Args:
        about: what is shown, for the job's title.

    Raises:
        UserError: the run has no saved epoch.
    """
    run, files = workbench.runs.open(run_id), workbench.epoch_files(run_id)
    if not files:
        raise UserError("The run has no saved epoch", where=run_id, fix="Train with Save every at 1")
    return workbench.queue.submit(InfluenceJob(workbench.queue, run, last_of(files), about, wrong, right))


def last_of(files: Sequence[EpochFile]) -> dict[int, Path]:
    """The epoch whose gradients are compared: what the set agrees on is learned by then."""
    return {files[-1].epoch: files[-1].path}


def train_without(workbench: Workbench, run_id: str, pictures: Sequence[Path]) -> int:
    """Queue a run like this one in which ``pictures`` teach nothing, and all else is the same; returns the job's id."""
    if not pictures:
        raise UserError("No picture is chosen", where=run_id, fix="Mark the pictures that shall be left out")
    config = leaving_out(workbench.runs.open(run_id).config(), pictures)
    return workbench.start_training(replace(config, name=workbench.free_name(config.name)))
