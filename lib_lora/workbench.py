"""What the page, the API and the command line can ask for; one object per process owns host, queue and runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from lib_lora.access import admit
from lib_lora.adapters.file import read_metadata
from lib_lora.errors import UserError
from lib_lora.jobs.job import GeneratorJob
from lib_lora.jobs.queue import JobQueue
from lib_lora.jobs.sweep_job import SweepGridJob
from lib_lora.jobs.train_job import TrainJob
from lib_lora.models.base import Host
from lib_lora.tools.lora_files import find_lora, list_loras
from lib_lora.training.applied import applied_networks
from lib_lora.training.backups import go_back
from lib_lora.training.config import TrainConfig, named_paths
from lib_lora.training.continuation import extend
from lib_lora.training.data import usable_scan
from lib_lora.training.preflight import Preflight, preflight
from lib_lora.training.run import Run
from lib_lora.training.run_store import RunStore
from lib_lora.training.validation import split
from lib_lora.training.variants import variants
from lib_lora.training.warm_start import start_file


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
    running_loss: float
    fixed_loss: float | None
    best: bool


class Workbench:
    """The services behind every surface. Create one per process and pass it on.

    Args:
        host: where we live.
    """

    def __init__(self, host: Host):
        self.host = host
        self.queue = JobQueue(host)
        self.runs = RunStore(host.paths.runs)

    # -- training -----------------------------------------------------------------------------------------------------

    def check(self, config: TrainConfig) -> Preflight:
        """What training with ``config`` will do. Waits for the model; takes about two steps' time.

        Raises:
            UserError: it could not start, with the setting concerned.
        """
        config = _admitted(self._with_model(config).check())
        with self.host.gpu_lock, self.host.training_session() as model:
            found = preflight(config, model, self.host.paths)
        self._refuse_existing(config)
        return found

    def start_training(self, config: TrainConfig) -> int:
        """Create a run and queue it; returns the job's id. Its ``view().data["run"]`` is the run's id.

        Raises:
            UserError: a setting, folder or file name that cannot work.
        """
        return self.queue.submit(TrainJob(self.new_run(config)))

    def new_run(self, config: TrainConfig) -> Run:
        """A run that is not trained yet. Errors as :meth:`start_training`."""
        return self.runs.create(self._startable(config))

    def start_variants(self, config: TrainConfig, text: str) -> list[int]:
        """Queue a run for every combination in ``text`` (see :func:`variants`) and a grid of them all; the jobs' ids.

        Raises:
            UserError: as :meth:`start_training`, for any of them; nothing is queued then.
        """
        wanted = [(variant.label, self._startable(variant.config)) for variant in variants(config, text)]
        folder = self._fresh_folder(self.host.paths.data / "grids" / f"{config.name}-variants")
        runs = []
        for label, variant in wanted:
            runs.append(self.runs.create(variant))
            runs[-1].join_sweep(label, folder)
        grid = SweepGridJob(self.queue, runs, wanted[0][1], folder)
        return [self.queue.submit(job) for job in (*map(TrainJob, runs), grid)]

    def change_waiting(self, job_id: int, config: TrainConfig) -> None:
        """Give a queued training other settings.

        Raises:
            UserError: it has begun, is no training, or the settings cannot work.
        """
        job = self.queue.find(job_id)
        if not isinstance(job, TrainJob) or job.run.status != "unfinished" or job.run.has_begun:
            raise UserError("Only a training that has not begun can be changed", where=job.title)
        config = self._startable(config, instead_of=job.run.id)
        with self.queue.held_waiting(job_id):
            job.change(config)

    def resume(self, run_id: str) -> int:
        """Queue an unfinished or stopped run to go on from its last saved step; returns the job's id."""
        run = self.runs.open(run_id)
        if run.status == "finished":
            raise UserError("This run is finished", where=run_id, fix="Give it more epochs, or start a new one")
        if self._active_job(run_id) is not None:
            raise UserError("This run is in the queue already", where=run_id)
        return self.queue.submit(TrainJob(run))

    def extend(self, run_id: str, more_epochs: int) -> int:
        """Queue a finished run for further epochs, see :func:`extend`; returns the job's id."""
        if self._active_job(run_id) is not None:
            raise UserError("This run is in the queue already", where=run_id)
        run = self.runs.open(run_id)
        extend(run, more_epochs)
        return self.queue.submit(TrainJob(run))

    def go_back(self, run_id: str, step: int) -> None:
        """Make a backup the present state of a run that is not being trained; it can be resumed from there."""
        if self._active_job(run_id) is not None:
            raise UserError("This run is being trained", where=run_id, fix="Stop it first")
        go_back(self.runs.open(run_id), step)

    def request(self, job_id: int, what: str) -> None:
        """``"save"``, ``"sample"`` or ``"backup"`` now, in a training job that goes on afterwards."""
        job = self.queue.find(job_id)
        if not isinstance(job, TrainJob):
            raise UserError("Only a training can do that", where=job.title)
        if what == "sample" and not job.config.sample_prompts.strip():
            fix = "Write some before the start, under Saving and samples"
            raise UserError("This run has no sample prompts", where=job.title, fix=fix)
        job.request(what)

    # -- other work ---------------------------------------------------------------------------------------------------

    def submit(self, kind: str, title: str, work: Callable[[Host], Iterator[Any]]) -> int:
        """Queue ``work(host)``, a generator that yields :class:`Progress` or other events; returns the job's id."""
        return self.queue.submit(GeneratorJob(kind, title, work))

    # -- files --------------------------------------------------------------------------------------------------------

    def list_loras(self) -> list[LoraEntry]:
        """All LoRA files of the host, by name."""
        files = sorted(list_loras(self.host.paths.lora_folders).items(), key=lambda item: item[0].casefold())
        return [LoraEntry(name, path) for name, path in files]

    def lora_path(self, name: str) -> Path:
        """The file of the LoRA called ``name``; see :func:`find_lora`."""
        return find_lora(name, self.host.paths.lora_folders)

    def epoch_files(self, run_id: str) -> list[EpochFile]:
        """The epochs of a run whose LoRA files still exist, in order."""
        rows = [row for row in self.runs.open(run_id).epochs() if row["lora_path"] and Path(row["lora_path"]).is_file()]
        losses = [row["fixed_loss"] for row in rows if row["fixed_loss"] is not None]
        return [
            EpochFile(
                row["epoch"], row["step"], Path(row["lora_path"]), row["running_loss"], row["fixed_loss"],
                best=bool(losses) and row["fixed_loss"] == min(losses),
            )
            for row in rows
        ]  # fmt: skip

    def delete_run(self, run_id: str) -> Path:
        """Move a run into the trash; its LoRA files stay. Returns where it can be taken back from."""
        if self._active_job(run_id) is not None:
            raise UserError("This run is being trained", where=run_id, fix="Stop it first")
        return self.runs.delete(run_id)

    # -- small parts --------------------------------------------------------------------------------------------------

    def free_name(self, name: str) -> str:
        """``name``, else ``name-2``, ``name-3`` …, of which there is neither a LoRA nor a run yet."""
        stem, _, number = name.rpartition("-")
        stem = stem if stem and number.isdigit() else name
        taken = {entry.name for entry in self.list_loras()} | {config.name for _, config in self.runs.with_config()}
        names = (name, *(f"{stem}-{count}" for count in range(2, len(taken) + 3)))
        return next(free for free in names if free not in taken)

    def _startable(self, config: TrainConfig, instead_of: str = "") -> TrainConfig:
        """The config with its checkpoint's name; UserError if it cannot start.

        Args:
            instead_of: id of the run that gets these settings.
        """
        config = _admitted(self._with_model(config).check())
        split(usable_scan(config), config.validation_split, config.seed)
        if config.start_from and not self._will_be_trained(config.start_from):
            start_file(config.start_from, self.host.paths.lora_folders)
        applied_networks(config.apply_loras, self.host.paths.lora_folders)
        self._refuse_existing(config)
        if self._will_be_trained(config.name, instead_of):
            what = "A training of that name is running or in the queue"
            raise UserError(what, where=config.name, fix="Choose another name")
        return config

    def _fresh_folder(self, folder: Path) -> Path:
        """``folder``, or that name with a number where it exists."""
        names = (folder, *(folder.with_name(f"{folder.name}-{count}") for count in range(2, 1000)))
        return next(name for name in names if not name.exists())

    def _with_model(self, config: TrainConfig) -> TrainConfig:
        """The config with the loaded checkpoint's name filled in; where none is loaded yet, the host loads its own."""
        if config.model:
            if config.model not in self.host.checkpoints():
                raise UserError("There is no such checkpoint", where=config.model, fix="Choose one from the list")
            return config
        info = self.host.info() or self.host.ensure_loaded()
        return replace(config, model=info.name)

    def _refuse_existing(self, config: TrainConfig) -> None:
        for folder in self.host.paths.lora_folders:  # a web UI tells files of several folders apart by name alone
            path = folder / f"{config.name}.safetensors"
            if path.exists():
                raise UserError("A LoRA of that name exists already", where=path, fix="Choose another name")

    def _will_be_trained(self, name: str, besides: str = "") -> bool:
        """Whether a run in the queue, other than ``besides``, will write this LoRA, e.g. the first stage of two."""
        waiting = {view.data["run"] for view in self.queue.jobs() if view.kind == "train" and not view.ended}
        return any(self.runs.open(run).config().name == name for run in waiting - {besides})

    def _active_job(self, run_id: str) -> int | None:
        for view in self.queue.jobs():
            if view.data.get("run") == run_id and not view.ended:
                return view.id
        return None


def _admitted(config: TrainConfig) -> TrainConfig:
    """The config, if the present caller may name its folders."""
    for setting, path in named_paths(config).items():
        admit(path, setting)
    return config
