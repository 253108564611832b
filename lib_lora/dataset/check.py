"""What a run would do with a dataset, said before it starts: counts, steps, buckets, captions, warnings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from lib_lora.dataset.advice import Advice, advise, long_captions
from lib_lora.dataset.batches import Plan
from lib_lora.dataset.buckets import Size
from lib_lora.dataset.caption import CaptionPipeline
from lib_lora.dataset.config import Concept, DatasetConfig
from lib_lora.dataset.hashes import FileHashes
from lib_lora.dataset.problems import Problem
from lib_lora.dataset.scan import Scan
from lib_lora.randomness import rng

SHOWN_CAPTIONS = 3
CHUNK = 75  # tokens that the text encoder takes at once, without begin and end


@dataclass(frozen=True)
class ConceptCount:
    """Images of one folder, and how many samples they are per epoch."""

    concept: Concept
    images: int

    @property
    def samples(self) -> int:
        """Pictures of an epoch: each counts as often as it is repeated."""
        return self.images * self.concept.repeats


@dataclass(frozen=True)
class TokenCounts:
    """Tokens of the final captions: the longest, and how many captions need one, two, three or more chunks of 75."""

    longest: int
    chunks: dict[int, int]


@dataclass(frozen=True)
class CheckReport:
    """Result of `check`.

    Args:
        images: usable image files.
        concepts: images and repeats by folder.
        samples_per_epoch: images times repeats.
        steps_per_epoch: optimizer steps (batches ÷ accumulation, rounded up over the epoch).
        total_steps: of the whole run.
        buckets: images per bucket (width, height), without repeats.
        captions: the first three captions of the run, exactly as the model will see them.
        tokens: None without a tokenizer.
        warnings: what is probably not meant, with the fix.
        problems: files that cannot be used, or not as they are.
    """

    images: int
    concepts: list[ConceptCount]
    samples_per_epoch: int
    steps_per_epoch: int
    total_steps: int
    buckets: dict[Size, int]
    captions: list[str]
    tokens: TokenCounts | None
    warnings: list[Advice]
    problems: tuple[Problem, ...]


def check(
    scan: Scan,
    config: DatasetConfig,
    *,
    epochs: int,
    steps: int = 0,
    accumulation: int = 1,
    seed: int = 0,
    max_tokens: int = 225,
    count_tokens: Callable[[str], int] | None = None,
    hashes: FileHashes | None = None,
) -> CheckReport:
    """Say what a run of ``epochs`` over ``scan`` will see.

    Args:
        steps: optimizer steps of the run, where these bound it instead of the epochs.
        accumulation: batches per optimizer step.
        seed: the seed of the run; decides which captions come first.
        max_tokens: what is beyond is cut off by the text encoder.
        count_tokens: tokens of a caption, without begin and end.
        hashes: finds identical files; give the cache's, so that each is read once.

    Raises:
        UserError: there is no usable image.
    """
    plan = Plan(scan, config, seed)
    per_epoch = -(-plan.steps_per_epoch // accumulation)
    tokens = _count_tokens(scan, config, count_tokens) if count_tokens else None
    warnings = list(advise(scan, config, hashes or FileHashes()))
    if tokens:
        warnings += long_captions(tokens.longest, max_tokens)
    return CheckReport(
        images=len(scan.items),
        concepts=_concepts(scan),
        samples_per_epoch=scan.samples_per_epoch,
        steps_per_epoch=per_epoch,
        total_steps=steps or per_epoch * epochs,
        buckets=dict(sorted(Counter(item.bucket for item in scan.items).items())),
        captions=_first_captions(plan),
        tokens=tokens,
        warnings=warnings,
        problems=scan.problems,
    )


def _concepts(scan: Scan) -> list[ConceptCount]:
    images = Counter(item.concept for item in scan.items)
    return [ConceptCount(concept, images[concept]) for concept in scan.concepts]


def _first_captions(plan: Plan) -> list[str]:
    captions: list[str] = []
    for step in range(min(SHOWN_CAPTIONS, plan.steps_per_epoch)):
        captions += [draw.caption for draw in plan.draws(step)]
    return captions[:SHOWN_CAPTIONS]


def _count_tokens(scan: Scan, config: DatasetConfig, count: Callable[[str], int]) -> TokenCounts:
    plain = CaptionPipeline(config.trigger)  # the order of the tags hardly changes their number of tokens
    counts = [count(plain(caption, rng(0, "count", 0))) for caption in {item.caption for item in scan.items}]
    return TokenCounts(max(counts), dict(sorted(Counter(max(1, -(-n // CHUNK)) for n in counts).items())))
