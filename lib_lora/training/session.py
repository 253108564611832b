"""Everything that a run trains with, made ready before its first step."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from lib_lora.adapters.network import Network
from lib_lora.dataset.batches import MicroBatch
from lib_lora.dataset.cache import LatentCache
from lib_lora.models.base import HostPaths, LoadedModel
from lib_lora.training.applied import applied_networks
from lib_lora.training.averaging import Averaging
from lib_lora.training.checkpoints import Checkpoints
from lib_lora.training.config import TrainConfig
from lib_lora.training.config_file import training_hash
from lib_lora.training.denoiser import Denoiser
from lib_lora.training.events import Event, Preparing, Warned
from lib_lora.training.length import epochs_begun
from lib_lora.training.loss_scaler import LossScaler
from lib_lora.training.meter import Meter
from lib_lora.training.noise import NoiseDraw, draw_noise
from lib_lora.training.optim import build_optimizer
from lib_lora.training.optimizer_state import optimizer_state
from lib_lora.training.parallel import ALONE, Parallel
from lib_lora.training.preservation import preservation_loss, without_trigger
from lib_lora.training.run import Run
from lib_lora.training.run_data import RunData, run_data
from lib_lora.training.run_metadata import network_spec, run_metadata
from lib_lora.training.slider import denoiser_of
from lib_lora.training.state import StateSlots
from lib_lora.training.warm_start import start_file, start_from


@dataclass
class Session:
    """A run and all that it trains with; :func:`prepare` makes one.

    Attributes:
        run: its folder; an onlooker's in all processes but the first.
        model: borrowed from the host.
        data: what is learned from.
        slots, checkpoints: where states and LoRA files go.
        network, denoiser, optimizer, scaler, averaging: what learns.
        meter: holds the steps that nobody has looked at.
        step: optimizer steps that are done.
        applied: frozen networks that act beside it, and are not saved.
        notes: what is to be said before the first step.
        last_saved: the LoRA file that was written last; None before the first.
        parallel: this process's place.
    """

    run: Run
    config: TrainConfig
    model: LoadedModel
    data: RunData
    slots: StateSlots
    checkpoints: Checkpoints
    network: Network
    denoiser: Denoiser
    optimizer: torch.optim.Optimizer
    scaler: LossScaler
    averaging: Averaging
    meter: Meter
    step: int
    applied: list[Network]
    notes: list[str]
    parallel: Parallel
    last_saved: Path | None = None

    @property
    def epoch(self) -> int:
        """The epoch, from 1, that the last finished step belongs to."""
        return max(0, self.step - 1) // self.data.steps_per_epoch + 1

    @property
    def networks(self) -> tuple[Network, ...]:
        """All that act on the model, the one in training last."""
        return (*self.applied, self.network)

    @contextmanager
    def attached(self) -> Iterator[None]:
        """The network on the model, and the model as the settings want it, for the length of a ``with`` block."""
        layers = self.model.layers()
        with self.denoiser.saving_memory(), ExitStack() as stack:
            for network in self.networks:
                stack.enter_context(network.attached_to(layers))
            yield

    @contextmanager
    def detached(self) -> Iterator[Network]:
        """Within :meth:`attached`, the network without the model, so that somebody else may draw samples with it."""
        for network in self.networks:
            network.detach()
        try:
            with self.averaging.shown():
                yield self.network
        finally:
            layers = self.model.layers()
            for network in self.networks:
                network.attach(layers)

    def batch(self, micro: int, place: Parallel) -> tuple[MicroBatch, NoiseDraw]:
        """The part of micro-step ``micro`` that is ``place``'s, possibly without a sample, on the model's device.

        All samples of a batch are filled up to the chunks of its longest caption, whoever has them.
        """
        batch = self.data.batches.batch(micro)
        drawn = draw_noise(batch.latents, self.denoiser.config, self.denoiser.schedule, micro)
        if place.world > 1:
            chunks = max(map(self.model.chunk_count, batch.captions))
            mine = place.share(len(batch))
            batch, drawn = batch.part(mine, min(self.config.max_tokens // 75, chunks)), drawn.part(mine)
        return batch.on(self.model.device), drawn.on(self.model.device)

    def dropping(self, micro: int, place: Parallel, drawn: NoiseDraw) -> AbstractContextManager[None]:
        """What the network leaves out in ``place``'s part of micro-step ``micro``, for a ``with`` block."""
        return self.network.dropping(self.config.seed + place.rank, micro, drawn.t / self.denoiser.steps)

    def loss(self, batch: MicroBatch, drawn: NoiseDraw) -> Tensor:
        """The mean over the whole batch, as far as it is this part's: the sum over its samples ÷ samples of all."""
        losses = self.denoiser.loss(batch, drawn)
        if self.config.preserve_weight:
            preserved = preservation_loss(self.denoiser, self.network, batch, drawn)
            losses = losses + self.config.preserve_weight * preserved
        return (losses * batch.weights).sum() / len(batch.draws)

    def held(self) -> Iterator[Tensor]:
        """What is kept between two steps: weights, moments, averages, encoded captions; gradients there are none."""
        for network in self.networks:
            for adapter in network.adapters.values():
                yield from adapter.parameters()
                yield from adapter.buffers()
        yield from optimizer_state(self.network, self.optimizer)[0].values()
        yield from self.averaging.mean
        yield from self.denoiser.known_captions.values()


def prepare(
    run: Run, model: LoadedModel, paths: HostPaths, parallel: Parallel = ALONE
) -> Generator[Event, None, Session]:
    """Make ``run`` ready to be trained, from its start or from its last saved step, saying how far that is.

    Args:
        run: its config is the whole truth; an onlooker's in all processes but the first.
        model: borrowed from ``host.training_session()``.
        paths: where LoRA files and latents go.
        parallel: this process's place, if several train together; all use the same folders.

    Raises:
        UserError: settings, images, files or a saved state that it cannot begin with.
    """
    config = run.config().check()
    if run.config_cut_off():
        run.write_config(config)
        yield Warned(f"The settings file was empty or cut off: {run.folder}. Its copy was taken")
    data = yield from run_data(config, model, LatentCache(paths.places.latents, model), parallel)
    steps = data.batches.steps_per_epoch
    denoiser = denoiser_of(model, config, paths.places.texts)
    yield from _captions_read(denoiser, data)
    metadata = run_metadata(run.record, config, data.trained, model, steps, data.total, data.steps_per_epoch)
    checkpoints = Checkpoints(paths.loras, config.name, config.save_precision, metadata)
    checkpoints.refuse_foreign(epochs_begun(config, data.steps_per_epoch), data.total, config.save_every_n_steps)

    # From here on nothing is yielded: somebody else might have the model meanwhile, and move it away from the network.
    slots = StateSlots(run.state)
    saved = slots.newest()
    network = Network.create(model.layers(), network_spec(config), config.seed)
    denoiser.network = network
    applied = applied_networks(config.apply_loras, paths.lora_folders)
    notes: list[str] = []
    if config.start_from and saved is None:
        notes = start_from(network, start_file(config.start_from, paths.lora_folders))
    optimizer = build_optimizer(network, config)
    averaging = Averaging(network, optimizer, config.ema_decay)
    notes += denoiser.notes
    scaler = LossScaler(optimizer, denoiser.half_precision)
    step = 0
    if saved is not None:
        shorter = [
            training_hash(replace(config, max_steps=length) if config.max_steps else replace(config, epochs=length))
            for length in run.extensions()
        ]
        step = saved.restore(network, optimizer, data.fingerprint, averaging, shorter)
    parallel.wait()  # all have read the state before the first step may replace it
    run.rewind(step)
    return Session(
        run, config, model, data, slots, checkpoints, network, denoiser, optimizer, scaler, averaging,
        Meter(torch.device(model.device)), step, applied, notes, parallel,
    )  # fmt: skip


def _captions_read(denoiser: Denoiser, data: RunData) -> Iterator[Event]:
    """The captions of the first epoch, and of the held-out images, through text encoders that are not trained."""
    lots = [lot for lot in (data.batches, data.held_out) if lot is not None]
    captions = [draw.caption for lot in lots for step in range(lot.steps_per_epoch) for draw in lot.draws(step)]
    captions = denoiser.asked(captions)
    config = denoiser.config
    if config.preserve_weight:
        captions += [without_trigger(caption, config.trigger, config.preserve_class) for caption in captions]
    for done, total in denoiser.read(captions):
        yield Preparing("Encoding captions", done, total)
