"""What about a dataset is probably not meant, each with its remedy. One rule a function."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lib_lora.dataset.balance.classes import MONOCHROME
from lib_lora.dataset.caption import split_tags
from lib_lora.dataset.config import DatasetConfig
from lib_lora.dataset.hashes import FileHashes
from lib_lora.dataset.scan import Item, Scan
from lib_lora.dataset.sidecars import is_made
from lib_lora.dataset.tags.pieces import is_sentence, split_pieces

FEW_IMAGES = 10
MUCH_CUT_OFF = 0.25  # part of an image that its bucket does not show
NAMED_AT_MOST = 3  # examples in one sentence
COUNT, CAPTIONS, TRIGGER, LEAKS, SMALL, SHAPE, COLOUR, COPIES = TOPICS = (
    "count", "captions", "trigger", "leaks", "small", "shape", "colour", "copies",
)  # fmt: skip


@dataclass(frozen=True)
class Advice:
    """One warning, and what to do about it.

    Args:
        topic: what it is about, one of the constants above; the Dataset tab opens the tool for it.
        paths: the images concerned, where they can be named.
    """

    text: str
    fix: str
    topic: str = ""
    paths: tuple[Path, ...] = ()

    def __str__(self) -> str:
        return f"{self.text}. {self.fix}."


def advise(scan: Scan, config: DatasetConfig, hashes: FileHashes) -> Iterator[Advice]:
    """All that applies to these images under these settings."""
    yield from few_images(scan.subject)
    yield from missing_captions(scan.subject, config)
    yield from uneven_trigger(scan.subject, config)
    yield from other_subjects(scan.subject, config)
    yield from tags_everywhere(scan.subject, config)
    yield from small_images(scan.items)
    yield from odd_shapes(scan.items)
    yield from mostly_monochrome(scan.items)
    yield from mostly_made(scan.subject)
    yield from identical_files(scan.items, hashes)


def few_images(items: tuple[Item, ...]) -> Iterator[Advice]:
    """So few that the LoRA will repeat them."""
    if len(items) < FEW_IMAGES:
        fix = "Twenty varied images make a character; with fewer, train fewer steps"
        yield Advice(f"Few images ({len(items)}), which the LoRA may learn by heart", fix, COUNT)


def missing_captions(items: tuple[Item, ...], config: DatasetConfig) -> Iterator[Advice]:
    """Images that fall back to the class tokens, or have no caption at all."""
    without = [item for item in items if item.caption_path is None]
    wanted = config.caption_extension or ".txt or .caption"
    if without and len(without) == len(items):
        fix = f"Put a {wanted} file of the same name beside each image, or name the folder like 10_name"
        yield Advice(f"No captions were found; {_fallback(without)}", fix, CAPTIONS, _paths(without))
    elif without:
        names = _some(item.path for item in without)
        text = f"Images without a caption: {len(without)} ({names}); {_fallback(without)}"
        yield Advice(text, f"Add {wanted} files", CAPTIONS, _paths(without))


def uneven_trigger(items: tuple[Item, ...], config: DatasetConfig) -> Iterator[Advice]:
    """Some captions lack the trigger that the others have."""
    captions = {item: split_pieces(item.caption) for item in items}
    if config.trigger:
        wanted = split_tags(config.trigger)
        lacking = [item for item, tags in captions.items() if not all(_says(tags, tag) for tag in wanted)]
        trigger, remedy = config.trigger, "It is put in front of them; check their spelling if they have another"
    elif config.keep_tokens:
        first = Counter(tags[0] for tags in captions.values() if tags)
        trigger, count = first.most_common(1)[0] if first else ("", 0)
        if count <= len(items) / 2:
            return
        lacking = [item for item, tags in captions.items() if not tags or tags[0] != trigger]
        remedy = "Put it first in them, or name it as the trigger, which does that"
    else:
        return
    if 0 < len(lacking) < len(items):
        names = _some(item.path for item in lacking)
        yield Advice(
            f"Captions without the trigger {trigger}: {len(lacking)} ({names})", remedy, TRIGGER, _paths(lacking)
        )


def other_subjects(items: tuple[Item, ...], config: DatasetConfig) -> Iterator[Advice]:
    """Folders none of whose captions has the trigger that all captions of another folder have."""
    wanted = split_tags(config.trigger)
    folders: dict[Path, list[bool]] = defaultdict(list)
    for item in items if wanted else ():
        tags = split_pieces(item.caption)
        folders[item.concept.path].append(all(_says(tags, tag) for tag in wanted))
    others = [folder for folder, having in folders.items() if not any(having)]
    if others and any(all(having) for having in folders.values()):
        text = f"{config.trigger} is put in front of all captions, also in folders without it: {_some(others)}"
        fix = "Leave the trigger empty if they show another subject, and begin each caption with its own name"
        paths = tuple(item.path for item in items if item.concept.path in others)
        yield Advice(text, fix, TRIGGER, paths)


def tags_everywhere(items: tuple[Item, ...], config: DatasetConfig) -> Iterator[Advice]:
    """Tags that no caption is without, apart from the trigger: the LoRA cannot tell them from it."""
    captions = [split_pieces(item.caption) for item in items if item.caption_path is not None]
    if len(captions) < NAMED_AT_MOST:
        return
    kept = {*split_tags(config.trigger), *captions[0][: config.keep_tokens]}
    common = set(captions[0]).intersection(*captions[1:]) - kept
    if common:
        tags = ", ".join(tag for tag in captions[0] if tag in common)
        fix = "Delete those that belong to the subject; keep those that you will write in prompts"
        yield Advice(f"In every caption, so the LoRA cannot tell it from its subject: {tags}", fix, LEAKS)


def small_images(items: tuple[Item, ...]) -> Iterator[Advice]:
    """Images that have to be enlarged."""
    small = [i for i in items if i.size[0] < i.bucket[0] or i.size[1] < i.bucket[1]]
    if small:
        shown = ", ".join(f"{i.path.name} {_times(i.size)} to {_times(i.bucket)}" for i in small[:NAMED_AT_MOST])
        fix = "Use larger originals, lower the resolution, or switch on “Never enlarge”"
        text = f"Images smaller than their bucket, which will be enlarged: {len(small)} ({shown})"
        yield Advice(text, fix, SMALL, _paths(small))


def odd_shapes(items: tuple[Item, ...]) -> Iterator[Advice]:
    """Images so wide or tall that their bucket cuts much of them off."""
    odd = [item.path for item in items if _cut_off(item) > MUCH_CUT_OFF]
    if odd:
        text = f"Images of which more than a quarter is cut off to fit a bucket: {len(odd)} ({_some(odd)})"
        yield Advice(text, "Crop them yourself, or raise bucket_max", SHAPE, tuple(odd))


def mostly_monochrome(items: tuple[Item, ...]) -> Iterator[Advice]:
    """More black and white than colour: the LoRA will draw without colour."""
    grey = [item.path for item in items if MONOCHROME & {tag.replace("_", " ") for tag in split_pieces(item.caption)}]
    if len(grey) > len(items) / 2:
        text = f"Tagged as black and white: {len(grey)} of {len(items)} images ({_some(grey)})"
        yield Advice(text, "For a colour model, leave some of them out", COLOUR, tuple(grey))


def mostly_made(items: tuple[Item, ...]) -> Iterator[Advice]:
    """More pictures that a model drew than others: what it does wrong is learned too."""
    made = [item.path for item in items if is_made(item.path)]
    if 0 < len(made) < len(items) < 2 * len(made):
        text = f"Drawn by a model: {len(made)} of {len(items)} images ({_some(made)})"
        yield Advice(text, "Its faults are learned too; leave some of them out", COUNT, tuple(made))


def identical_files(items: tuple[Item, ...], hashes: FileHashes) -> Iterator[Advice]:
    """Files with the same bytes. Only files of equal length are read."""
    by_length, by_hash = defaultdict(list), defaultdict(list)
    try:
        for item in items:
            by_length[item.path.stat().st_size].append(item.path)
        for path in (p for paths in by_length.values() if len(paths) > 1 for p in paths):
            by_hash[hashes.sha256(path)].append(path)
    except OSError as error:
        yield Advice(f"Not all files could be compared: {error}", "Scan again")
    hashes.save()
    groups = [paths for paths in by_hash.values() if len(paths) > 1]
    if groups:
        shown = "; ".join(_some(paths, " = ") for paths in groups[:NAMED_AT_MOST])
        extra = sum(len(paths) - 1 for paths in groups)
        fix = "Delete the copies; use repeats to weigh more"
        yield Advice(f"Copies of other images: {extra} ({shown})", fix, COPIES, tuple(p for g in groups for p in g))


def long_captions(longest: int, max_tokens: int) -> Iterator[Advice]:
    """A caption that does not fit."""
    if longest > max_tokens:
        text = f"The longest caption has {longest} tokens; what is beyond {max_tokens} is cut off"
        yield Advice(text, "Shorten it, or raise the longest caption up to 225", CAPTIONS)


def _says(tags: Sequence[str], wanted: str) -> bool:
    """Whether a caption has a tag, or a sentence with its words."""
    words = re.compile(rf"(?<!\w){re.escape(wanted)}(?!\w)")
    return wanted in tags or any(is_sentence(tag) and words.search(tag) for tag in tags)


def _cut_off(item: Item) -> float:
    """Part of the image's area that lies outside the bucket after scaling."""
    image, bucket = item.size[0] / item.size[1], item.bucket[0] / item.bucket[1]
    return 1 - min(image / bucket, bucket / image)


def _fallback(items: list[Item]) -> str:
    captions = sorted({item.caption for item in items if item.caption})
    return f"the folder's name is used instead: {', '.join(captions)}" if captions else "they are trained without one"


def _paths(items: Iterable[Item]) -> tuple[Path, ...]:
    return tuple(item.path for item in items)


def _some(paths: Iterable[Path], joint: str = ", ") -> str:
    names = [path.name for path in paths]
    more = f" and {len(names) - NAMED_AT_MOST} more" if len(names) > NAMED_AT_MOST else ""
    return joint.join(names[:NAMED_AT_MOST]) + more


def _times(size: tuple[int, int]) -> str:
    return f"{size[0]}×{size[1]}"
