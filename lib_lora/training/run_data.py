"""What a run learns from, made ready before its first step: latents, batches and the number of steps."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, replace

from lib_lora.dataset.batches import Batches
from lib_lora.dataset.cache import LatentCache
from lib_lora.dataset.scan import Scan
from lib_lora.dataset.views import views
from lib_lora.models.base import LoadedModel
from lib_lora.training.config import TrainConfig
from lib_lora.training.config_file import training_hash
from lib_lora.training.data import data_hash, dataset_config, usable_scan
from lib_lora.training.events import Event, Preparing, Warned
from lib_lora.training.length import epochs_exactly, total_steps
from lib_lora.training.parallel import Parallel
from lib_lora.training.state import Fingerprint
from lib_lora.training.validation import split


@dataclass(frozen=True)
class RunData:
    """Attributes:
    trained: the images that are learned.
    batches, held_out: batches of those; of the images kept for validation, None without any.
    fingerprint: what a saved state of the run belongs to.
    accumulation: batches of an optimizer step.
    total: optimizer steps.
    """

    trained: Scan
    batches: Batches
    held_out: Batches | None
    fingerprint: Fingerprint
    accumulation: int
    total: int

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps in an epoch: its batches ÷ accumulation, rounded up."""
        return -(-self.batches.steps_per_epoch // self.accumulation)

    def micro_steps(self, step: int) -> range:
        """The batches of optimizer step ``step``; the last of an epoch may have fewer, epochs never mix."""
        batches = self.batches.steps_per_epoch
        epoch, within = divmod(step, self.steps_per_epoch)
        first = within * self.accumulation
        return range(epoch * batches + first, epoch * batches + min(first + self.accumulation, batches))


def run_data(
    config: TrainConfig, model: LoadedModel, cache: LatentCache, parallel: Parallel
) -> Generator[Event, None, RunData]:
    """Read and encode the images, saying how far it is."""
    scan = yield from _encoded(config, cache, parallel)
    data = dataset_config(config)
    trained, held_out = split(scan, config.validation_split, config.seed)
    batches = Batches(trained, cache, data, config.seed)
    per_epoch = -(-batches.steps_per_epoch // config.gradient_accumulation)
    if config.max_steps and config.token_warmup:  # how many epochs that is, only the batches say
        data = replace(data, token_warmup=config.token_warmup * epochs_exactly(config, per_epoch))
        batches = Batches(trained, cache, data, config.seed)
    plain = replace(data, flip=False, colour=False, crop=False)
    return RunData(
        trained=trained,
        batches=batches,
        held_out=Batches(held_out, cache, plain, config.seed) if held_out.items else None,
        fingerprint=Fingerprint(training_hash(config), data_hash(scan, cache.hashes), model.hashes()["model"]),
        accumulation=config.gradient_accumulation,
        total=total_steps(config, per_epoch),
    )


def _encoded(config: TrainConfig, cache: LatentCache, parallel: Parallel) -> Generator[Event, None, Scan]:
    """The images that could be decoded; several processes encode a share each, and wait for the others."""
    found = usable_scan(config)
    wanted = list(views(config.flip, config.color_aug, config.random_crop))
    if parallel.world > 1:
        mine = replace(found, items=found.items[parallel.rank :: parallel.world])
        for _ in cache.prepare(mine, wanted):
            pass
        parallel.wait()
    encoding = cache.prepare(found, wanted)
    while True:
        try:
            done, total = next(encoding)
        except StopIteration as end:
            encoded: Scan = end.value
            break
        yield Preparing("Encoding images", done, total)
    for problem in encoded.problems:
        yield Warned(str(problem))
    return encoded
