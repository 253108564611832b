"""A training in several processes, as ``accelerate launch`` and ``torchrun`` start them."""

from __future__ import annotations

from collections.abc import Callable

from lib_lora.errors import UserError
from lib_lora.jobs.job import FAILED
from lib_lora.jobs.train_job import TrainJob
from lib_lora.models.base import Host
from lib_lora.training.parallel import Parallel
from lib_lora.training.run import Run
from lib_lora.training.run_store import RunStore


def choose_run(parallel: Parallel, choose: Callable[[], Run], runs: RunStore) -> Run:
    """The run that the first process creates or opens, in all of them.

    Raises:
        UserError: it could not; what is wrong is said by the first process, so that it is said once.
    """
    run, problem = None, None
    if parallel.leads:
        try:
            run = choose()
        except UserError as error:
            problem = error
    run_id = parallel.told(run.id if run else None)
    if problem is not None:
        raise problem
    if run_id is None:
        raise UserError("The first process could not begin")
    return run or runs.open(run_id)


def train_together(host: Host, run: Run, parallel: Parallel, show: Callable[[str], None]) -> None:
    """Train ``run`` to its end with the other processes; the first one shows the progress.

    Raises:
        UserError: it failed; the run goes on from its last saved step.
    """
    job = TrainJob(run, parallel)
    shown = ""
    for _ in job.work(host):
        view = job.view()
        line = f"{view.done}/{view.total}  {view.note}"
        if parallel.leads and line != shown and view.total:
            show(line)
            shown = line
    if job.outcome == FAILED:
        raise UserError(job.error["what"], where=job.error["where"] or None, fix=job.error["fix"] or None)
