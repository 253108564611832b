"""What a run learns from, made ready before its first step: latents, batches and the number of steps."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace

from lib_lora.dataset.batches import Batches
from lib_lora.dataset.cache import LatentCache
from lib_lora.dataset.scan import Scan
from lib_lora.models.base import LoadedModel
from lib_lora.training.config import TrainConfig
from lib_lora.training.config_file import training_hash
from lib_lora.training.data import data_hash, dataset_config, usable_scan
from lib_lora.training.events import Event, Preparing, Warned
from lib_lora.training.parallel import Parallel
from lib_lora.training.state import Fingerprint
from lib_lora.training.update import steps_per_epoch
from lib_lora.training.validation import split


@dataclass(frozen=True)
class RunData:
    """Attributes:
    trained: the images that are learned.
    batches, held_out: batches of those; of the images kept for validation, None without any.
    fingerprint: what a saved state of the run belongs to.
    steps_per_epoch, total: optimizer steps.
    """

    trained: Scan
    batches: Batches
    held_out: Batches | None
    fingerprint: Fingerprint
    steps_per_epoch: int
    total: int


def run_data(
    config: TrainConfig, model: LoadedModel, cache: LatentCache, parallel: Parallel
) -> Generator[Event, None, RunData]:
    """Read and encode the images, saying how far it is."""
    scan = yield from _encoded(config, cache, parallel)
    data = dataset_config(config)
    trained, held_out = split(scan, config.validation_split, config.seed)
    batches = Batches(trained, cache, data, config.seed)
    per_epoch = steps_per_epoch(batches, config)
    return RunData(
        trained=trained,
        batches=batches,
        held_out=Batches(held_out, cache, replace(data, flip=False), config.seed) if held_out.items else None,
        fingerprint=Fingerprint(training_hash(config), data_hash(scan, cache.hashes), model.hashes()["model"]),
        steps_per_epoch=per_epoch,
        total=per_epoch * config.epochs,
    )


def _encoded(config: TrainConfig, cache: LatentCache, parallel: Parallel) -> Generator[Event, None, Scan]:
    """The images that could be decoded; several processes encode a share each, and wait for the others."""
    found = usable_scan(config)
    if parallel.world > 1:
        mine = replace(found, items=found.items[parallel.rank :: parallel.world])
        for _ in cache.prepare(mine, config.flip):
            pass
        parallel.wait()
    encoding = _Returning(cache.prepare(found, config.flip))
    for done, total in encoding:
        yield Preparing("Encoding images", done, total)
    for problem in encoding.value.problems:
        yield Warned(str(problem))
    return encoding.value


class _Returning:
    """Iterates a generator and keeps what it returned in ``value``."""

    def __init__(self, generator: Generator):
        self.generator = generator

    def __iter__(self) -> Iterator:
        self.value = yield from self.generator
