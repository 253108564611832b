"""What may start: a config with its checkpoint, a name that is free, folders that the caller may use."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from lib_lora.access import admit
from lib_lora.errors import UserError
from lib_lora.jobs.claims import claim_name, claim_run
from lib_lora.jobs.queue import JobQueue
from lib_lora.jobs.train_job import TrainJob
from lib_lora.jobs.views import TrainView
from lib_lora.models.base import Host
from lib_lora.ownership import Claim
from lib_lora.tools.made.drawing import to_be_drawn
from lib_lora.training.applied import applied_networks
from lib_lora.training.checkpoints import epoch_path
from lib_lora.training.config import TrainConfig, named_paths
from lib_lora.training.data import usable_scan
from lib_lora.training.parallel import ALONE, Parallel
from lib_lora.training.run_store import RunStore
from lib_lora.training.validation import split
from lib_lora.training.warm_start import start_file


class Starting:
    """Checks that come before a run, and the run that comes of them.

    Args:
        host: whose checkpoints and LoRA files are looked at.
        runs: where a run is made.
        queue: whose trainings will write files of their names.
    """

    def __init__(self, host: Host, runs: RunStore, queue: JobQueue):
        self.host, self.runs, self.queue = host, runs, queue

    def admitted(self, config: TrainConfig) -> TrainConfig:
        """The config with its checkpoint, if its settings can work, the present caller may name its folders, and
        nothing would be overwritten.

        Raises:
            UserError: with the setting concerned.
        """
        config = self.with_model(config).check()
        for setting, path in named_paths(config).items():
            admit(path, setting)
        self.refuse_existing(config)
        return config

    def startable(self, config: TrainConfig) -> TrainConfig:
        """As :meth:`admitted`, and all that it reads is there."""
        config = self.admitted(config)
        if not (config.is_slider and to_be_drawn(Path(config.data_dir))):  # a slider's run draws them first
            split(usable_scan(config), config.validation_split, config.seed)
        if config.start_from and not self._will_be_trained(config.start_from):
            start_file(config.start_from, self.host.paths.lora_folders)
        applied_networks(config.apply_loras, self.host.paths.lora_folders)
        return config

    def own_name(self, config: TrainConfig, undo: ExitStack) -> Claim:
        """The claim to the name of ``config``, released by ``undo``; UserError where it is taken."""
        claim = undo.enter_context(claim_name(self.host.paths.loras, config.name))
        self.refuse_existing(config)  # again: until now another process could have finished one
        return claim

    def created(self, config: TrainConfig, name: Claim, undo: ExitStack, parallel: Parallel = ALONE) -> TrainJob:
        """A new run as a job that owns it until it is closed, or ``undo`` is."""
        run = self.runs.create(config)
        return TrainJob(run, (name, undo.enter_context(claim_run(run))), parallel)

    def with_model(self, config: TrainConfig) -> TrainConfig:
        """The config with the loaded checkpoint's name filled in; where none is loaded yet, the host loads its own."""
        if config.model:
            if config.model not in self.host.checkpoints():
                raise UserError("There is no such checkpoint", where=config.model, fix="Choose one from the list")
            return config
        info = self.host.info() or self.host.ensure_loaded()
        return replace(config, model=info.name)

    def refuse_existing(self, config: TrainConfig) -> None:
        """UserError if a file that the run would write is there already."""
        # a web UI tells files of several folders apart by name alone
        final = [folder / f"{config.name}.safetensors" for folder in self.host.paths.lora_folders]
        epochs = (epoch_path(self.host.paths.loras, config.name, epoch) for epoch in range(1, config.epochs))
        path = next((path for path in (*final, *epochs) if path.exists()), None)
        if path is None:
            return
        begun = next((run for run in self.runs.named(config.name) if run.status != "finished"), None)
        fix = f"Continue the run {begun.id}, or choose another name" if begun else "Choose another name"
        raise UserError("A LoRA of that name exists already", where=path, fix=fix)

    def _will_be_trained(self, name: str) -> bool:
        """Whether a run in the queue will write this LoRA, e.g. the first stage of two."""
        waiting = [view for view in self.queue.jobs() if isinstance(view, TrainView) and not view.ended]
        return any(self.runs.open(view.run).config().name == name for view in waiting)
