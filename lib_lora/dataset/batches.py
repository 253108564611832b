"""Which images a step sees, and the batch itself: pure functions of (seed, step)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import cycle

import torch
from torch import Tensor

from lib_lora.dataset.buckets import Size
from lib_lora.dataset.cache import LatentCache
from lib_lora.dataset.config import DatasetConfig
from lib_lora.dataset.masks import Masks
from lib_lora.dataset.scan import Item, Scan
from lib_lora.dataset.views import PLAIN, View, drawn
from lib_lora.errors import UserError
from lib_lora.models.transfer import sent
from lib_lora.randomness import rng

MOST_SAMPLES = 10_000_000  # of one epoch; each has its place in a list


@dataclass(frozen=True)
class Draw:
    """One image of a step, with its final caption."""

    item: Item
    caption: str
    view: View = PLAIN


@dataclass(frozen=True)
class MicroBatch:
    """What goes through the model at once, on its way from `Batches` to the denoiser; B samples of one size.

    Attributes:
        latents: float32 [B, 4, h, w].
        captions: a final one per sample.
        draws: which images they are; of the whole batch, also in a part of it.
        weights: [B], of the samples' losses.
        sizes: [B, 6] in pixels, as SDXL is told them (Podell et al. 2023, 2.2): original height and width, top and left
            of the crop in the resized image, height and width of the crop.
        masks: [B, 1, h, w], where the loss counts; None: all over.
        min_chunks: chunks of 75 tokens that the conditioning has at least.
        after: [B, 4, h, w], the same pictures after a change, of pairs; None: these are none.
    """

    latents: Tensor
    captions: list[str]
    draws: list[Draw]
    weights: Tensor
    sizes: Tensor
    masks: Tensor | None = None
    min_chunks: int = 1
    after: Tensor | None = None

    def __len__(self) -> int:
        return len(self.captions)

    def part(self, samples: slice, min_chunks: int = 1) -> MicroBatch:
        """Some of the samples; ``min_chunks`` makes their conditioning as long as that of the others."""
        masks, after = (None if tensor is None else tensor[samples] for tensor in (self.masks, self.after))
        latents, weights, sizes = (tensor[samples] for tensor in (self.latents, self.weights, self.sizes))
        return MicroBatch(latents, self.captions[samples], self.draws, weights, sizes, masks, min_chunks, after)

    def on(self, device: torch.device | str) -> MicroBatch:
        """The same on ``device``, without waiting for it; ``sizes`` stay in main memory, where they are read."""
        masks, after = (None if tensor is None else sent(tensor, device) for tensor in (self.masks, self.after))
        latents, weights = sent(self.latents, device), sent(self.weights, device)
        return replace(self, latents=latents, weights=weights, masks=masks, after=after)


class Plan:
    """The order of a run. Batches never mix buckets; each bucket keeps its short last batch (as in kohya).

    Raises:
        UserError: there is no usable image.
    """

    def __init__(self, scan: Scan, config: DatasetConfig, seed: int):
        if not scan.subject:
            folders = ", ".join(str(c.path) for c in config.folders) or "no folder given"
            fix = "Choose a folder with images" + (f"; {scan.problems[0]}" if scan.problems else "")
            raise UserError("There is no image to train on", where=folders, fix=fix)
        self.items = scan.items
        self.config = config
        self.seed = seed
        self._buckets: dict[Size, list[Item]] = {}
        for item in samples(scan):
            self._buckets.setdefault(item.bucket, []).append(item)
        self._pipeline = config.pipeline()
        self._plain_pipeline = replace(self._pipeline, trigger="")
        self._order: tuple[int, list[list[Item]]] = (-1, [])

    @property
    def steps_per_epoch(self) -> int:
        """Σ over the buckets of ceil(samples / batch size)."""
        return sum(-(-len(items) // self.config.batch_size) for items in self._buckets.values())

    def weight(self, item: Item) -> float:
        """Of its loss."""
        if item.path in self.config.left_out:
            return 0.0
        return self.config.prior_weight if item.concept.regularisation else 1.0

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
        looks = rng(self.seed, "view", step)
        warmed = step / (self.config.token_warmup * self.steps_per_epoch) if self.config.token_warmup else 1.0
        draws = []
        for item in self._order[1][position]:
            flipped = self.config.flip and flips.random() < 0.5
            view = drawn(looks, flipped, self.config.colour, self.config.crop)
            written = captions.choice(item.lines) if item.lines else item.caption
            pipeline = self._plain_pipeline if item.concept.regularisation else self._pipeline
            draws.append(Draw(item, pipeline(written, captions, flipped, epoch + 1, warmed), view))
        return draws


class Batches(Plan):
    """A `Plan` with latents.

    Args:
        scan: the images, as returned by `LatentCache.prepare`.
        cache: gives the latents; whatever is missing is encoded on the way.
        config: batch size, caption, flip, colour and crop settings.
        seed: the seed of the run.
    """

    def __init__(self, scan: Scan, cache: LatentCache, config: DatasetConfig, seed: int):
        super().__init__(scan, config, seed)
        self._cache = cache
        self._masks = Masks(config.masks) if config.masks else None

    def batch(self, step: int) -> MicroBatch:
        """Batch of step ``step``, counted from 0; any step at any time.

        Raises:
            BadFile: an image has vanished or changed into something unreadable since it was prepared.
        """
        draws = self.draws(step)
        latents = torch.stack([self._cache.get(draw.item, draw.view) for draw in draws])
        weights = torch.tensor([self.weight(draw.item) for draw in draws])
        masks = None
        if self._masks is not None:
            masks = self._masks.batch([(d.item, d.view) for d in draws], (latents.shape[-2], latents.shape[-1]))
        sizes = torch.tensor([told_sizes(draw.item.size, draw.item.bucket, draw.view.place) for draw in draws])
        partners = [self._cache.get(item, d.view) for d in draws if (item := d.item.after) is not None]
        after = torch.stack(partners) if partners else None
        return MicroBatch(latents, [draw.caption for draw in draws], draws, weights, sizes, masks, after=after)


def told_sizes(size: Size, bucket: Size, place: float = 0.5) -> tuple[int, int, int, int, int, int]:
    """What SDXL is told of an image of ``size`` that covers ``bucket`` and is cropped to it at ``place`` (see fit)."""
    scale = max(bucket[0] / size[0], bucket[1] / size[1])
    left, top = (round((size[axis] * scale - bucket[axis]) * place) for axis in (0, 1))
    return size[1], size[0], top, left, bucket[1], bucket[0]


def samples(scan: Scan) -> list[Item]:
    """The items of an epoch, each as often as it is seen.

    Regularisation is seen as often as the subject, its items in turn (as in kohya).

    Raises:
        UserError: there are more than :data:`MOST_SAMPLES`.
    """
    if scan.samples_per_epoch > MOST_SAMPLES:
        what = f"An epoch would show {scan.samples_per_epoch:,} images, and {MOST_SAMPLES:,} is the most"
        raise UserError(what, where="repeats", fix="Lower the repeats, in the settings or the folders' names")
    subject = [item for item in scan.subject for _ in range(item.concept.repeats)]
    return subject + _in_turn([item for item in scan.items if item.concept.regularisation], len(subject))


def _in_turn(items: Sequence[Item], count: int) -> list[Item]:
    """``count`` items or a few more: first each with its repeats, then each once more, again and again."""
    seen: list[Item] = []
    for item in items:
        if len(seen) < count:
            seen += [item] * item.concept.repeats
    for item in cycle(items):
        if len(seen) >= count:
            break
        seen.append(item)
    return seen
