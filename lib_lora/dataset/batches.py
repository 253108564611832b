"""Which images a step sees, and the batch itself: pure functions of (seed, step)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lib_lora.dataset.buckets import Size
from lib_lora.dataset.cache import LatentCache
from lib_lora.dataset.config import DatasetConfig
from lib_lora.dataset.scan import Item, Scan
from lib_lora.errors import UserError
from lib_lora.training.randomness import rng


@dataclass(frozen=True)
class Draw:
    """One image of a step, with its final caption."""

    item: Item
    caption: str
    flipped: bool


@dataclass(frozen=True)
class Batch:
    """Latents float32 [B, 4, h, w] on the CPU, one final caption and one draw per sample."""

    latents: Tensor
    captions: list[str]
    draws: list[Draw]

    @property
    def items(self) -> list[Item]:
        return [draw.item for draw in self.draws]


class Plan:
    """The order of a run. Batches never mix buckets; each bucket keeps its short last batch (as in kohya).

    Raises:
        UserError: there is no usable image.
    """

    def __init__(self, scan: Scan, config: DatasetConfig, seed: int):
        if not scan.items:
            folders = ", ".join(str(c.path) for c in config.folders) or "no folder given"
            fix = "Choose a folder with images" + (f"; {scan.problems[0]}" if scan.problems else "")
            raise UserError("There is no image to train on", where=folders, fix=fix)
        self.items = scan.items
        self.config = config
        self.seed = seed
        self._buckets: dict[Size, list[Item]] = {}
        for item in scan.items:
            self._buckets.setdefault(item.bucket, []).extend([item] * item.concept.repeats)
        self._pipeline = config.pipeline()
        self._order: tuple[int, list[list[Item]]] = (-1, [])

    @property
    def steps_per_epoch(self) -> int:
        """Σ over the buckets of ceil(samples / batch size)."""
        return sum(-(-len(items) // self.config.batch_size) for items in self._buckets.values())

    def epoch_order(self, epoch: int) -> list[list[Item]]:
        """The batches of an epoch (counted from 0), a function of (seed, epoch) alone."""
        random = rng(self.seed, "order", epoch)
        batches = []
        for bucket in sorted(self._buckets):
            items = list(self._buckets[bucket])
            random.shuffle(items)
            batches += [items[i : i + self.config.batch_size] for i in range(0, len(items), self.config.batch_size)]
        random.shuffle(batches)
        return batches

    def draws(self, step: int) -> list[Draw]:
        """What step ``step`` (counted from 0) sees."""
        epoch, position = divmod(step, self.steps_per_epoch)
        if self._order[0] != epoch:
            self._order = (epoch, self.epoch_order(epoch))
        flips, captions = rng(self.seed, "flip", step), rng(self.seed, "caption", step)
        warmed = step / (self.config.token_warmup * self.steps_per_epoch) if self.config.token_warmup else 1.0
        draws = []
        for item in self._order[1][position]:
            flipped = self.config.flip and flips.random() < 0.5
            caption = self._pipeline(item.caption, captions, flipped, epoch + 1, warmed)
            draws.append(Draw(item, caption, flipped))
        return draws


class Batches(Plan):
    """A `Plan` with latents.

    Args:
        scan: the images, as returned by `LatentCache.prepare`.
        cache: gives the latents; whatever is missing is encoded on the way.
        config: batch size, caption and flip settings.
        seed: the seed of the run.
    """

    def __init__(self, scan: Scan, cache: LatentCache, config: DatasetConfig, seed: int):
        super().__init__(scan, config, seed)
        self._cache = cache

    def batch(self, step: int) -> Batch:
        """Batch of step ``step``, counted from 0; any step at any time.

        Raises:
            BadFile: an image has vanished or changed into something unreadable since it was prepared.
        """
        draws = self.draws(step)
        latents = torch.stack([self._cache.get(draw.item, draw.flipped) for draw in draws])
        return Batch(latents, [draw.caption for draw in draws], draws)
