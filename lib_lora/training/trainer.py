"""The training loop: a generator that yields events and owns no thread, lock or page.

Everything random is a function of (seed, step), and the learning rate is a function of the step; so weights, optimizer
moments and the step number are the whole state of a run, and a resumed run is bit-identical to an uninterrupted one.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
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
from lib_lora.training.keeper import Keeper
from lib_lora.training.memory import OUT_OF_MEMORY, out_of_memory
from lib_lora.training.meter import Diverged, Meter
from lib_lora.training.optim import build_optimizer
from lib_lora.training.parallel import ALONE, Parallel
from lib_lora.training.run import Onlooker, Run
from lib_lora.training.run_data import run_data
from lib_lora.training.run_metadata import network_spec, run_metadata
from lib_lora.training.state import StateSlots
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
        self.lora_folders = paths.lora_folders
        self.network: Network | None = None
        self.update: Update | None = None
        self.keeper: Keeper | None = None
        self.step = 0
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
        layers = self.model.layers()  # again: somebody else may have had the model since, and moved it
        with self.denoiser.saving_memory(), network.attached_to(layers):
            self.optimizer = build_optimizer(network, self.config)
            self.averaging = Averaging(network, self.optimizer, self.config.ema_decay)
            batches = self.data.batches
            self.update = Update(self.denoiser, network, self.optimizer, self.averaging, batches, self.parallel)
            files = (self.run_folder, self.state, self.checkpoints)
            self.keeper = Keeper(*files, self.meter, self.data, self.update, self.parallel)
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
        self.network = self.update = self.keeper.update = None
        del self.optimizer, self.averaging
        return out_of_memory(self.model, self.config, self.data.batches.items, self.step + 1)

    def _steps(self) -> Iterator[events.Event]:
        while self.step < self.data.total:
            started = time.perf_counter()
            done = self.update(self.step)
            self.step += 1
            self.meter.add(self.step, done.lr, done.loss, done.grad_norm)
            if self.meter.due:
                self.keeper.read_meter()
            seconds = time.perf_counter() - started
            yield events.StepDone(self.step, self.data.total, self.epoch, self.meter.last, done.lr, seconds)
            if self.step % self.data.steps_per_epoch == 0:
                yield from self._end_epoch()
            elif self.step % self.config.state_every_n_steps == 0:
                self.keeper.save_state(self.step)
            request, self._request = self._request, None
            if request is not None and self.step < self.data.total:
                yield from self._answer(request)
                if request in ("stop", "save_and_stop"):
                    return
        path = self.keeper.write_final(self.step)
        self.run_folder.set_result("finished", self.step, path)
        yield events.Finished(path, self.step)

    def _end_epoch(self) -> Iterator[events.Event]:
        done, every = self.keeper.end_epoch(self.step), self.config.sample_every_n_epochs
        if done is None:
            return
        yield done
        if every and done.epoch % every == 0:
            yield events.SampleDue(done.epoch, self.step)

    def _answer(self, request: str) -> Iterator[events.Event]:
        if request == "sample":
            yield events.SampleDue(self.epoch, self.step)
            return
        self.keeper.read_meter()
        if request in ("save", "save_and_stop"):
            yield events.Saved(self.keeper.write_lora(self.checkpoints.step_path(self.step), self.step), self.step)
        self.keeper.save_state(self.step)
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
            for note in start_from(self.network, start_file(self.config.start_from, self.lora_folders)):
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
        return self.keeper.epoch_of(self.step)

    @property
    def last_saved(self) -> Path | None:
        """The LoRA file that was written last."""
        return self.keeper and self.keeper.last_saved
