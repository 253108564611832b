"""The training loop: a generator that yields events and owns no thread, lock or page.

Everything random is a function of (seed, step), and the learning rate is a function of the step; so weights, optimizer
moments and the step number are the whole state of a run, and a resumed run is bit-identical to an uninterrupted one.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

import torch

from lib_lora.adapters.network import Network
from lib_lora.dataset.cache import LatentCache
from lib_lora.errors import UserError
from lib_lora.models.base import HostPaths, LoadedModel
from lib_lora.training import events
from lib_lora.training.averaging import Averaging
from lib_lora.training.backups import back_up
from lib_lora.training.checkpoints import Checkpoints
from lib_lora.training.config import TrainConfig
from lib_lora.training.config_file import training_hash
from lib_lora.training.denoiser import Denoiser
from lib_lora.training.fixed_loss import epoch_losses
from lib_lora.training.memory import OUT_OF_MEMORY, out_of_memory
from lib_lora.training.meter import Diverged, Meter, refuse_broken
from lib_lora.training.optim import build_optimizer
from lib_lora.training.parallel import ALONE, Parallel
from lib_lora.training.run import Onlooker, Run
from lib_lora.training.run_data import run_data
from lib_lora.training.run_metadata import network_spec, run_metadata
from lib_lora.training.state import Position, StateSlots
from lib_lora.training.update import Update
from lib_lora.training.warm_start import start_file, start_from

REQUESTS = ("stop", "save_and_stop", "save", "sample", "backup")


class Trainer:
    """One run of training, from its first or its last saved step to the end.

    Args:
        run: the run folder; its config is the whole truth.
        model: borrowed from ``host.training_session()``.
        paths: where LoRA files and latents go.
        parallel: this process's place, if several train together; all use the same folders, the first one writes.
    """

    def __init__(self, run: Run, model: LoadedModel, paths: HostPaths, parallel: Parallel = ALONE):
        self.parallel = parallel
        self.run_folder = run if parallel.leads else Onlooker(run.folder, run.record)
        self.model = model
        self.config: TrainConfig = run.config().check()
        self.cache = LatentCache(paths.data / "latents", model)
        self.state = StateSlots(run.state)
        self.loras = paths.loras
        self.network: Network | None = None
        self.update: Update | None = None
        self.step = 0
        self.last_saved: Path | None = None
        self._request: str | None = None

    def request(self, what: str) -> None:
        """Ask for ``"stop"``, ``"save_and_stop"``, ``"save"``, ``"sample"`` or ``"backup"``; done after this step."""
        if what not in REQUESTS:
            raise ValueError(f"unknown request {what!r}")
        self._request = what

    @contextmanager
    def detached(self) -> Iterator[Network]:
        """The network without the model, so that somebody else may attach it, e.g. to draw samples."""
        self.network.detach()
        try:
            with self.averaging.shown():
                yield self.network
        finally:
            self.network.attach(self.model.layers())

    # -- the loop -----------------------------------------------------------------------------------------------------

    def run(self) -> Iterator[events.Event]:
        """Train, yielding one event per step and more around them; closing the generator leaves the model clean."""
        yield from self._prepare()
        layers = self.model.layers()
        network = self.network = Network.create(layers, network_spec(self.config), self.config.seed)
        yield from self._warm_start()
        self.denoiser = Denoiser(self.model, self.config, network)
        with self.denoiser.saving_memory(), network.attached_to(layers):
            self.optimizer = build_optimizer(network, self.config)
            self.averaging = Averaging(network, self.optimizer, self.config.ema_decay)
            batches = self.data.batches
            self.update = Update(self.denoiser, network, self.optimizer, self.averaging, batches, self.parallel)
            self._resume()
            try:
                yield from self._steps()
                return
            except Diverged as error:
                problem: UserError | None = error
            except OUT_OF_MEMORY:
                problem = None  # said below, when the step's tensors are gone
        problem = problem or self._out_of_memory()
        self.run_folder.set_result("failed", self.step, self.last_saved, str(problem))
        yield events.Failed(problem, self.step, self.last_saved)

    def _out_of_memory(self) -> UserError:
        """What to say when memory ran out; the network is off the model by now."""
        self.network = self.update = None
        del self.optimizer, self.averaging
        return out_of_memory(self.model, self.config, self.data.batches.items, self.step + 1)

    def _steps(self) -> Iterator[events.Event]:
        while self.step < self.data.total:
            started = time.perf_counter()
            done = self.update(self.step)
            self.step += 1
            self.meter.add(self.step, done.lr, done.loss, done.grad_norm)
            if self.meter.due:
                self._read_meter()
            seconds = time.perf_counter() - started
            yield events.StepDone(self.step, self.data.total, self.epoch, self.meter.last, done.lr, seconds)
            if self.step % self.data.steps_per_epoch == 0:
                yield from self._end_epoch()
            elif self.step % self.config.state_every_n_steps == 0:
                self._save_state()
            request, self._request = self._request, None
            if request is not None and self.step < self.data.total:
                yield from self._answer(request)
                if request in ("stop", "save_and_stop"):
                    return
        if not self.checkpoints.final_path.exists():  # finished before, and the file was deleted since
            self._write_lora(self.checkpoints.final_path)
        self.run_folder.set_result("finished", self.step, self.checkpoints.final_path)
        yield events.Finished(self.checkpoints.final_path, self.step)

    def _end_epoch(self) -> Iterator[events.Event]:
        self._read_meter()
        if not self.parallel.leads:
            return
        epoch, config = self.epoch, self.config
        with self.averaging.shown():
            measured = epoch_losses(self.denoiser, self.data.batches, self.data.held_out, config)
        last = self.step == self.data.total
        path = None
        if last or epoch % config.save_every_n_epochs == 0:
            path = self._write_lora(self.checkpoints.final_path if last else self.checkpoints.epoch_path(epoch))
        running = self.run_folder.mean_loss((epoch - 1) * self.data.steps_per_epoch)
        row = {"epoch": epoch, "step": self.step, "running_loss": running, **measured}
        self.run_folder.add_epoch({**row, "lora_path": str(path) if path else None})
        self._save_state()  # last: a crash before this line repeats the end of the epoch, with the same result
        yield events.EpochDone(epoch, self.step, running, row["fixed_loss"], path)
        if config.sample_every_n_epochs and epoch % config.sample_every_n_epochs == 0:
            yield events.SampleDue(epoch, self.step)

    def _answer(self, request: str) -> Iterator[events.Event]:
        if request == "sample":
            yield events.SampleDue(self.epoch, self.step)
            return
        self._read_meter()
        if request in ("save", "save_and_stop"):
            yield events.Saved(self._write_lora(self.checkpoints.step_path(self.step)), self.step)
        self._save_state()
        if request == "backup":
            yield events.BackedUp(back_up(self.run_folder), self.step)
        elif request != "save":
            self.run_folder.set_result("stopped", self.step, self.last_saved)
            yield events.Stopped(self.step)

    # -- before the first step ----------------------------------------------------------------------------------------

    def _prepare(self) -> Iterator[events.Event]:
        yield from self._mend_config()
        data = self.data = yield from run_data(self.config, self.model, self.cache, self.parallel)
        self.meter = Meter(torch.device(self.model.device))
        batches = data.batches.steps_per_epoch
        metadata = run_metadata(self.run_folder.record, self.config, data.trained, self.model, batches, data.total)
        self.checkpoints = Checkpoints(self.loras, self.config.name, self.config.save_precision, metadata)
        self.checkpoints.refuse_foreign(self.config.epochs)

    def _mend_config(self) -> Iterator[events.Event]:
        if self.run_folder.config_cut_off():
            self.run_folder.write_config(self.config)
            yield events.Warned(f"The settings file was empty or cut off: {self.run_folder.folder}. Its copy was taken")

    def _warm_start(self) -> Iterator[events.Event]:
        if self.config.start_from and self.state.position() is None:
            for note in start_from(self.network, start_file(self.config.start_from, self.loras)):
                yield events.Warned(note)

    def _resume(self) -> None:
        shorter = [training_hash(replace(self.config, epochs=epochs)) for epochs in self.run_folder.extensions()]
        self.step = self.state.load(self.network, self.optimizer, self.data.fingerprint, self.averaging, shorter)
        self.parallel.wait()  # all have read the state before the first step may replace it
        self.run_folder.rewind(self.step)

    # -- small parts --------------------------------------------------------------------------------------------------

    @property
    def epoch(self) -> int:
        """The epoch, from 1, that the last finished step belongs to."""
        return max(0, self.step - 1) // self.data.steps_per_epoch + 1

    def _read_meter(self) -> None:
        readings = self.meter.read()
        self.run_folder.append_metrics([asdict(reading) for reading in readings])
        refuse_broken(readings, self.config.name)

    def _write_lora(self, path: Path) -> Path:
        if not self.parallel.leads:
            return path
        with self.averaging.shown():
            self.last_saved = self.checkpoints.write(path, self.network, epoch=self.epoch, step=self.step)
        return self.last_saved

    def _save_state(self) -> None:
        self._read_meter()  # never save weights that a broken step has touched
        if self.parallel.leads:
            self.state.save(Position(self.step, self.data.fingerprint), self.network, self.optimizer, self.averaging)
