"""The training loop: a generator that yields events and owns no thread, lock or page.

Everything random is a function of (seed, step), and the learning rate is a function of the step; so weights, optimizer
moments and the step number are the whole state of a run, and a resumed run is bit-identical to an uninterrupted one.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

from lib_lora.adapters.network import Network
from lib_lora.dataset.batches import Batches
from lib_lora.dataset.cache import LatentCache
from lib_lora.dataset.scan import Scan
from lib_lora.errors import UserError
from lib_lora.models.base import HostPaths, LoadedModel
from lib_lora.training.averaging import Averaging
from lib_lora.training.backups import back_up
from lib_lora.training.checkpoints import Checkpoints
from lib_lora.training.config import TrainConfig
from lib_lora.training.config_file import training_hash
from lib_lora.training.data import data_hash, dataset_config, usable_scan
from lib_lora.training.denoiser import Denoiser
from lib_lora.training.events import (
    BackedUp,
    EpochDone,
    Event,
    Failed,
    Finished,
    Preparing,
    SampleDue,
    Saved,
    StepDone,
    Stopped,
    Warned,
)
from lib_lora.training.fixed_loss import fixed_losses
from lib_lora.training.memory import OUT_OF_MEMORY, capacity, fitting_change
from lib_lora.training.meter import Meter
from lib_lora.training.optim import build_optimizer
from lib_lora.training.parallel import ALONE, Parallel
from lib_lora.training.run_metadata import network_spec, run_metadata
from lib_lora.training.run_store import Onlooker, Run
from lib_lora.training.state import Fingerprint, Position, StateSlots
from lib_lora.training.update import Update, steps_per_epoch
from lib_lora.training.validation import split
from lib_lora.training.warm_start import start_file, start_from

REQUESTS = ("stop", "save_and_stop", "save", "sample", "backup")


class Diverged(UserError):
    """Loss or gradient is no longer a number."""


class _Returning:
    """Iterates a generator and keeps what it returned in ``value``."""

    def __init__(self, generator: Generator):
        self.generator = generator

    def __iter__(self) -> Iterator:
        self.value = yield from self.generator


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

    def run(self) -> Iterator[Event]:
        """Train, yielding one event per step and more around them; closing the generator leaves the model clean."""
        yield from self._prepare()
        layers = self.model.layers()
        network = self.network = Network.create(layers, network_spec(self.config), self.config.seed)
        yield from self._warm_start()
        self.denoiser = Denoiser(self.model, self.config, network)
        self.model.gradient_checkpointing(self.config.gradient_checkpointing)
        with network.attached_to(layers):
            self.optimizer = build_optimizer(network, self.config)
            self.averaging = Averaging(network, self.optimizer, self.config.ema_decay)
            self.update = Update(self.denoiser, network, self.optimizer, self.averaging, self.batches, self.parallel)
            self._resume()
            try:
                yield from self._steps()
                return
            except Diverged as error:
                problem: UserError | None = error
            except OUT_OF_MEMORY:
                problem = None  # said below, when the step's tensors are gone
        problem = problem or self._exhausted()
        self.run_folder.set_result("failed", self.step, self.last_saved, str(problem))
        yield Failed(problem, self.step, self.last_saved)

    def _exhausted(self) -> UserError:
        """What to say when memory ran out; the network is off the model by now."""
        self.network = None
        del self.optimizer, self.averaging, self.update
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        items = self.batches.items
        size = max((item.bucket for item in items), key=lambda bucket: bucket[0] * bucket[1])
        caption = max((item.caption for item in items), key=len)
        fix = fitting_change(self.model, self.config, size, capacity(self.model.device), caption)
        what = f"The memory was not enough for step {self.step + 1}"
        return UserError(what, where=self.config.name, fix=f"{fix}. What was saved is good")

    def _steps(self) -> Iterator[Event]:
        while self.step < self.total:
            started = time.perf_counter()
            done = self.update(self.step)
            self.step += 1
            self.meter.add(self.step, done.lr, done.loss, done.grad_norm)
            if self.meter.due:
                self._read_meter()
            yield StepDone(self.step, self.total, self.epoch, self.meter.last, done.lr, time.perf_counter() - started)
            if self.step % self.steps_per_epoch == 0:
                yield from self._end_epoch()
            elif self.step % self.config.state_every_n_steps == 0:
                self._save_state()
            request, self._request = self._request, None
            if request is not None and self.step < self.total:
                yield from self._answer(request)
                if request in ("stop", "save_and_stop"):
                    return
        if not self.checkpoints.final_path.exists():  # finished before, and the file was deleted since
            self._write_lora(self.checkpoints.final_path)
        self.run_folder.set_result("finished", self.step, self.checkpoints.final_path)
        yield Finished(self.checkpoints.final_path, self.step)

    def _end_epoch(self) -> Iterator[Event]:
        self._read_meter()
        if not self.parallel.leads:
            return
        epoch, config = self.epoch, self.config
        measured = self._measure()
        last = self.step == self.total
        path = None
        if last or epoch % config.save_every_n_epochs == 0:
            path = self._write_lora(self.checkpoints.final_path if last else self.checkpoints.epoch_path(epoch))
        running = self._running_loss(epoch)
        row = {"epoch": epoch, "step": self.step, "running_loss": running, **measured}
        self.run_folder.add_epoch({**row, "lora_path": str(path) if path else None})
        self._save_state()  # last: a crash before this line repeats the end of the epoch, with the same result
        yield EpochDone(epoch, self.step, running, row["fixed_loss"], path)
        if config.sample_every_n_epochs and epoch % config.sample_every_n_epochs == 0:
            yield SampleDue(epoch, self.step)

    def _measure(self) -> dict[str, Any]:
        """The fixed-noise loss of trained and of held-out images: their means, and each image's own."""
        found: dict[str, Any] = {}
        with self.averaging.shown():
            for name, batches in (("fixed", self.batches), ("validation", self.held_out)):
                losses = fixed_losses(self.denoiser, batches, self.config) if batches is not None else []
                found[f"{name}_loss"] = fmean(losses) if losses else None
                found[f"{name}_losses"] = losses
        return found

    def _answer(self, request: str) -> Iterator[Event]:
        if request == "sample":
            yield SampleDue(self.epoch, self.step)
            return
        self._read_meter()
        if request in ("save", "save_and_stop"):
            yield Saved(self._write_lora(self.checkpoints.step_path(self.step)), self.step)
        self._save_state()
        if request == "backup":
            yield BackedUp(back_up(self.run_folder), self.step)
        elif request != "save":
            self.run_folder.set_result("stopped", self.step, self.last_saved)
            yield Stopped(self.step)

    # -- before the first step ----------------------------------------------------------------------------------------

    def _prepare(self) -> Iterator[Event]:
        scan = yield from self._encode_images()
        hashes = (training_hash(self.config), data_hash(scan, self.cache.hashes), self.model.hashes()["model"])
        self.fingerprint = Fingerprint(*hashes)
        data, seed = dataset_config(self.config), self.config.seed
        trained, held_out = split(scan, self.config.validation_split, seed)
        self.batches = Batches(trained, self.cache, data, seed)
        self.held_out = Batches(held_out, self.cache, replace(data, flip=False), seed) if held_out.items else None
        batches = self.batches.steps_per_epoch
        self.steps_per_epoch = steps_per_epoch(self.batches, self.config)
        self.total = self.steps_per_epoch * self.config.epochs
        self.meter = Meter(torch.device(self.model.device))
        metadata = run_metadata(self.run_folder.record, self.config, trained, self.model, batches, self.total)
        self.checkpoints = Checkpoints(self.loras, self.config.name, self.config.save_precision, metadata)
        self.checkpoints.refuse_foreign(self.config.epochs)

    def _encode_images(self) -> Generator[Event, None, Scan]:
        found = usable_scan(self.config)
        if self.parallel.world > 1:  # each its share first, then all of it is there for all
            mine = replace(found, items=found.items[self.parallel.rank :: self.parallel.world])
            for _ in self.cache.prepare(mine, self.config.flip):
                pass
            self.parallel.wait()
        encoding = _Returning(self.cache.prepare(found, self.config.flip))
        for done, total in encoding:
            yield Preparing("Encoding images", done, total)
        for problem in encoding.value.problems:
            yield Warned(str(problem))
        return encoding.value

    def _warm_start(self) -> Iterator[Event]:
        if self.config.start_from and self.state.position() is None:
            for note in start_from(self.network, start_file(self.config.start_from, self.loras)):
                yield Warned(note)

    def _resume(self) -> None:
        shorter = [training_hash(replace(self.config, epochs=epochs)) for epochs in self.run_folder.extensions()]
        self.step = self.state.load(self.network, self.optimizer, self.fingerprint, self.averaging, shorter)
        self.parallel.wait()  # all have read the state before the first step may replace it
        self.run_folder.rewind(self.step)

    # -- small parts --------------------------------------------------------------------------------------------------

    @property
    def epoch(self) -> int:
        """The epoch, from 1, that the last finished step belongs to."""
        return max(0, self.step - 1) // self.steps_per_epoch + 1

    def _read_meter(self) -> None:
        readings = self.meter.read()
        self.run_folder.append_metrics([asdict(reading) for reading in readings])
        for reading in readings:
            if reading.broken:
                raise Diverged(
                    f"The {reading.broken} became NaN or infinite in step {reading.step}",
                    where=self.config.name,
                    fix="Halve the learning rates and start again; the files saved before are good",
                )

    def _running_loss(self, epoch: int) -> float:
        first = (epoch - 1) * self.steps_per_epoch
        losses = [row["loss"] for row in self.run_folder.metrics() if row["step"] > first]
        return sum(losses) / len(losses)

    def _write_lora(self, path: Path) -> Path:
        if not self.parallel.leads:
            return path
        with self.averaging.shown():
            self.last_saved = self.checkpoints.write(path, self.network, epoch=self.epoch, step=self.step)
        return self.last_saved

    def _save_state(self) -> None:
        self._read_meter()  # never save weights that a broken step has touched
        if self.parallel.leads:
            self.state.save(Position(self.step, self.fingerprint), self.network, self.optimizer, self.averaging)
