"""What the page, the API and the command line can ask for; one object per process owns host, queue and runs."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from torch import Tensor

from lib_lora.adapters.base_weights import CheckpointWeights
from lib_lora.errors import UserError
from lib_lora.file_sets import finish_and_sweep
from lib_lora.jobs.claims import claim_name, claim_run
from lib_lora.jobs.job import GeneratorJob, Job
from lib_lora.jobs.queue import JobQueue
from lib_lora.jobs.sweep_job import SweepGridJob
from lib_lora.jobs.train_job import TrainJob
from lib_lora.jobs.views import TrainView
from lib_lora.lora_files import find_lora, subfolders
from lib_lora.models.base import Host, HostPaths
from lib_lora.training.backups import go_back
from lib_lora.training.config import TrainConfig
from lib_lora.training.config_file import training_hash
from lib_lora.training.continuation import extend
from lib_lora.training.parallel import ALONE, Parallel
from lib_lora.training.preflight import Preflight, preflight
from lib_lora.training.run import Run
from lib_lora.training.run_store import RunStore
from lib_lora.training.variants import variants
from lib_lora.workbench.checking import Checking
from lib_lora.workbench.files import EpochFile, LoraEntry, StepFile, epoch_files, lora_entries, step_files
from lib_lora.workbench.starting import Starting


class Workbench:
    """The services behind every surface. Create one per process and pass it on.

    Args:
        host: where we live.
    """

    def __init__(self, host: Host):
        self.host = host
        self.queue = JobQueue(host)
        self.runs = RunStore(host.paths.runs)
        self.starting = Starting(host, self.runs, self.queue)
        self.checking = Checking()
        finish_and_sweep(list(_written(host.paths)))

    # -- training -----------------------------------------------------------------------------------------------------

    def check(self, config: TrainConfig) -> Preflight:
        """What training with ``config`` will do. Waits for the model; takes about two steps' time.

        ``checking`` says what it is doing meanwhile, and ends it.

        Raises:
            UserError: it could not start, with the setting concerned; or it was ended.
        """
        config = self.starting.admitted(config)
        with self.checking.begun(config.name) as tell, self.host.gpu_lock:
            tell("opening the model")
            with self.host.training_session() as model:
                return preflight(config, model, self.host.paths, tell)

    def start_training(self, config: TrainConfig) -> int:
        """Create a run and queue it; returns the job's id. Its ``view().run`` is the run's id.

        Raises:
            UserError: a setting, folder or file name that cannot work, or a training of that name.
        """
        return self.queue.submit(self.new_training(config))

    def new_training(self, config: TrainConfig, parallel: Parallel = ALONE) -> TrainJob:
        """A training that is not in the queue yet; it owns its name until it is closed. Errors as
        :meth:`start_training`."""
        config = self.starting.startable(config)
        with ExitStack() as undo:
            job = self.starting.created(config, self.starting.own_name(config, undo), undo, parallel)
            undo.pop_all()
            return job

    def start_variants(self, config: TrainConfig, text: str) -> list[int]:
        """Queue a run for every combination in ``text`` (see :func:`variants`) and a grid of them all; the jobs' ids.

        Raises:
            UserError: as :meth:`start_training`, for any of them; nothing is queued then.
        """
        wanted = [(variant.label, self.starting.startable(variant.config)) for variant in variants(config, text)]
        jobs: list[Job] = []
        with ExitStack() as undo:
            names = [self.starting.own_name(variant, undo) for _, variant in wanted]
            folder = _fresh_folder(self.host.paths.places.grids / f"{config.name}-variants")
            for (label, variant), name in zip(wanted, names, strict=True):
                job = self.starting.created(variant, name, undo)
                job.run.join_sweep(label, folder)
                jobs.append(job)
            runs = [job.run for job in jobs if isinstance(job, TrainJob)]
            jobs.append(SweepGridJob(self.queue, runs, wanted[0][1], folder))
            undo.pop_all()
        return [self.queue.submit(job) for job in jobs]

    def change_waiting(self, job_id: int, config: TrainConfig) -> None:
        """Give a queued training other settings.

        Raises:
            UserError: it has begun, is no training, or the settings cannot work.
        """
        job = self.queue.find(job_id)
        if not isinstance(job, TrainJob) or job.run.status != "unfinished" or job.run.has_begun:
            raise UserError("Only a training that has not begun can be changed", where=job.title)
        config = self.starting.startable(config)
        with ExitStack() as undo:
            same = config.name.casefold() == job.config.name.casefold()
            name = None if same else self.starting.own_name(config, undo)
            with self.queue.held_waiting(job_id):
                job.change(config, name)
            undo.pop_all()

    def resume(self, run_id: str) -> int:
        """Queue an unfinished or stopped run to go on from its last saved step; returns the job's id.

        Raises:
            UserError: it is finished, or is being trained or in the queue, here or in another process.
        """
        return self.queue.submit(self.continued(run_id))

    def continued(self, run_id: str, more_epochs: int = 0, parallel: Parallel = ALONE) -> TrainJob:
        """A run as a training that is not in the queue yet; it owns the run until it is closed.

        Args:
            more_epochs: for a finished run, see :func:`extend`. Errors otherwise as :meth:`resume`.
        """
        run = self.runs.open(run_id)
        with ExitStack() as undo:
            owner = undo.enter_context(claim_run(run))
            if more_epochs:
                extend(run, more_epochs)
            if run.status == "finished":
                raise UserError("This run is finished", where=run_id, fix="Give it more epochs, or start a new one")
            name = undo.enter_context(claim_name(self.host.paths.loras, run.config().name))
            job = TrainJob(run, (name, owner), parallel)
            undo.pop_all()
            return job

    def extend(self, run_id: str, more_epochs: int) -> int:
        """Queue a finished run for further epochs, see :func:`extend`; returns the job's id."""
        if more_epochs < 1:
            raise UserError("At least one more epoch is needed", where="More epochs", fix="Give a number from 1")
        return self.queue.submit(self.continued(run_id, more_epochs))

    def go_back(self, run_id: str, step: int) -> None:
        """Make a backup the present state of a run that is not being trained; it can be resumed from there."""
        run = self.runs.open(run_id)
        with claim_run(run):
            go_back(run, step)

    def request(self, job_id: int, what: str) -> None:
        """``"save"``, ``"sample"`` or ``"backup"`` now, in a training job that goes on afterwards."""
        if not isinstance(view := self.queue.view(job_id), TrainView):
            raise UserError("Only a training can do that", where=view.title)
        job = self.queue.find(job_id)
        assert isinstance(job, TrainJob)
        if what == "sample" and not job.config.sample_prompts.strip():
            fix = "Write some before the start, under Saving and samples"
            raise UserError("This run has no sample prompts", where=job.title, fix=fix)
        job.request(what)

    # -- other work ---------------------------------------------------------------------------------------------------

    def submit(self, kind: str, title: str, work: Callable[[Host], Generator[Any, None, Any]]) -> int:
        """Queue ``work(host)``, a generator that yields :class:`Progress` or other events; returns the job's id."""
        return self.queue.submit(GeneratorJob(kind, title, work))

    # -- files --------------------------------------------------------------------------------------------------------

    def list_loras(self) -> list[LoraEntry]:
        """All LoRA files of the host, by name."""
        return lora_entries(self.host.paths.lora_folders)

    def lora_path(self, name: str) -> Path:
        """The file of the LoRA called ``name``; see :func:`find_lora`."""
        return find_lora(name, self.host.paths.lora_folders)

    def weights_of(self, checkpoint: str = "") -> Mapping[str, Tensor]:
        """The weights of a checkpoint of the host, of the loaded one without a name; read when they are asked for.

        Raises:
            UserError: there is no such checkpoint, or its file cannot be read.
        """
        info = None if checkpoint else self.host.info() or self.host.ensure_loaded()
        return CheckpointWeights(self.host.checkpoint_path(checkpoint or (info.name if info else "")))

    def epoch_files(self, run_id: str) -> list[EpochFile]:
        """The epochs of a run whose LoRA files still exist, in order."""
        return epoch_files(self.runs.open(run_id))

    def step_files(self, run_id: str) -> list[StepFile]:
        """The steps of a run that were saved and still exist, in order."""
        return step_files(self.runs.open(run_id), self.host.paths.loras)

    def unfinished(self, config: TrainConfig) -> Run | None:
        """The newest run of this name and these settings that can be continued."""
        wanted = training_hash(self.starting.with_model(config))
        found = (run for run in self.runs.named(config.name) if run.status != "finished")
        return next((run for run in found if training_hash(run.config()) == wanted), None)

    def delete_run(self, run_id: str) -> Path:
        """Move a run into the trash; its LoRA files stay. Returns where it can be taken back from."""
        claim_run(self.runs.open(run_id)).release()
        return self.runs.delete(run_id)

    # -- small parts --------------------------------------------------------------------------------------------------

    def free_name(self, name: str) -> str:
        """``name``, else ``name-2``, ``name-3`` …, of which there is neither a LoRA nor a run yet."""
        stem, _, number = name.rpartition("-")
        stem = stem if stem and number.isdigit() else name
        taken = {entry.name for entry in self.list_loras()} | {config.name for _, config in self.runs.with_config()}
        names = (name, *(f"{stem}-{count}" for count in range(2, len(taken) + 3)))
        return next(free for free in names if free not in taken)


def _written(paths: HostPaths) -> Iterator[Path]:
    """The folders in which this program writes files."""
    yield from subfolders(paths.loras)
    yield paths.checkpoints
    for folder in (paths.runs, paths.data):
        for parent, _, _ in os.walk(folder):
            yield Path(parent)


def _fresh_folder(folder: Path) -> Path:
    """``folder``, or that name with a number where it exists."""
    names = (folder, *(folder.with_name(f"{folder.name}-{count}") for count in range(2, 1000)))
    return next(name for name in names if not name.exists())
