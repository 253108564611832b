"""A training in several processes, as ``accelerate launch`` and ``torchrun`` start them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

from lib_lora.errors import UserError
from lib_lora.jobs.train_job import TrainJob
from lib_lora.models.base import Host
from lib_lora.training.parallel import Parallel
from lib_lora.training.run_store import RunStore


def choose_job(parallel: Parallel, choose: Callable[[], TrainJob], runs: RunStore) -> TrainJob:
    """The training that the first process creates or continues, in all of them; only its own owns the run.

    Raises:
        UserError: it could not; what is wrong is said by the first process, so that it is said once.
    """
    job, problem = None, None
    if parallel.leads:
        try:
            job = choose()
        except UserError as error:
            problem = error
    run_id = parallel.told(job.run.id if job else None)
    if problem is not None:
        raise problem
    if run_id is None:
        raise UserError("The first process could not begin")
    return job or TrainJob(runs.open(run_id), parallel=parallel)


def train_together(host: Host, job: TrainJob, show: Callable[[str], None]) -> None:
    """Train to the end with the other processes; the first one shows the progress.

    Raises:
        UserError: it failed; the run goes on from its last saved step.
    """
    shown = ""
    with closing(job):
        for _ in job.work(host):
            view = job.view()
            line = f"{view.done}/{view.total}  {view.note}"
            if job.parallel.leads and line != shown and view.total:
                show(line)
                shown = line
    if job.error is not None:
        raise UserError(job.error["what"], where=job.error["where"] or None, fix=job.error["fix"] or None)
