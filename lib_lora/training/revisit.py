"""A run looked at again: its pictures, its loss, and its saved epochs on the model."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from lib_lora.adapters.network import Network
from lib_lora.dataset.batches import Batches
from lib_lora.dataset.cache import LatentCache
from lib_lora.errors import UserError
from lib_lora.lora_files import load_network
from lib_lora.models.base import HostPaths, LoadedModel
from lib_lora.training.applied import applied_networks
from lib_lora.training.config import TrainConfig
from lib_lora.training.data import dataset_config
from lib_lora.training.denoiser import Denoiser
from lib_lora.training.events import Event
from lib_lora.training.parallel import ALONE
from lib_lora.training.run import Run
from lib_lora.training.run_data import RunData, run_data
from lib_lora.training.state import StateSlots


@dataclass
class Revisit:
    """What a run was trained with, and what it saved; :func:`revisit` makes one.

    Attributes:
        epochs: network by number of the epoch, in order, in float32.
        applied: frozen networks that acted beside it.
    """

    config: TrainConfig
    model: LoadedModel
    data: RunData
    denoiser: Denoiser
    epochs: dict[int, Network]
    applied: list[Network]
    cache: LatentCache

    @contextmanager
    def attached(self) -> Iterator[None]:
        """All epochs on the model, switched off by weight 0, for the length of a ``with`` block."""
        self.weigh({})
        layers = self.model.layers()
        with self.denoiser.saving_memory(), ExitStack() as stack:
            for network in (*self.applied, *self.epochs.values()):
                stack.enter_context(network.attached_to(layers))
            yield

    def weigh(self, weights: Mapping[int, float]) -> None:
        """Let the model be as with Σ weight · ΔW over epochs; those that are not named count nothing."""
        for epoch, network in self.epochs.items():
            network.multiplier = weights.get(epoch, 0.0)

    def switch(self, on: bool) -> None:
        """Whether anything of it acts: off while others use the model."""
        for network in (*self.applied, *self.epochs.values()):
            network.enabled = on


def revisit(
    run: Run, files: Mapping[int, Path], model: LoadedModel, paths: HostPaths
) -> Generator[Event, None, Revisit]:
    """Read pictures, captions and epochs of ``run`` again, saying how far it is.

    Args:
        files: epoch -> LoRA file, of those that are wanted.

    Raises:
        UserError: a slider, other pictures or captions than the run was trained on, or an epoch that cannot be read.
    """
    config = run.config()
    if config.is_slider:
        raise UserError(
            "A slider learns from both ends at once, not from pictures", where=run.id, fix="Choose another run"
        )
    cache = LatentCache(paths.places.latents, model)
    data = yield from run_data(config, model, cache, ALONE)
    saved = StateSlots(run.state).newest()
    if saved is not None:
        wanted = saved.position.fingerprint
        replace(wanted, config=data.fingerprint.config).require(data.fingerprint, run.folder)
    if not files:
        raise UserError("The run has no saved epoch", where=run.id, fix="Train with Save every at 1")
    epochs = {epoch: load_network(path) for epoch, path in sorted(files.items())}
    applied = applied_networks(config.apply_loras, paths.lora_folders)
    return Revisit(config, model, data, Denoiser(model, config, paths.places.texts), epochs, applied, cache)


def pictures_in(folder: str, run: Revisit) -> Generator[Event, None, Batches]:
    """Other pictures with captions, each once and as it is, with all other settings of the run."""
    config = replace(run.config, data_dir=folder, reg_dir="", validation_split=0.0, repeats="1")
    config = replace(config, flip=False, color_aug=False, random_crop=False)
    return (yield from run_data(config, run.model, run.cache, ALONE)).batches


def each_picture(run: Revisit) -> Batches:
    """The pictures that were learned, each once and alone, with its whole caption."""
    config = replace(run.config, batch_size=1, flip=False, color_aug=False, random_crop=False)
    config = replace(config, caption_dropout=0.0, caption_dropout_every_n_epochs=0, tag_dropout=0.0, token_warmup=0.0)
    config = replace(config, shuffle=False, random_line=False)
    learned = [item for item in run.data.trained.subject if run.data.batches.weight(item)]
    items = tuple(replace(item, concept=replace(item.concept, repeats=1)) for item in learned)
    return Batches(replace(run.data.trained, items=items), run.cache, dataset_config(config), run.config.seed)
