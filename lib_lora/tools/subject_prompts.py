"""What to draw while several subjects are trained: all of them, each in the first place once, then each alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from PIL import Image

from lib_lora.dataset.buckets import Size, bucket_for
from lib_lora.dataset.caption import split_tags
from lib_lora.dataset.collection.picture import Picture
from lib_lora.dataset.proposals import prompt_line
from lib_lora.dataset.text_file import lines_of, read_text_file
from lib_lora.errors import UserError
from lib_lora.training.config import TrainConfig
from lib_lora.training.data import dataset_config

ROUNDS = 8  # of samples in a run
MOST = 8  # pictures of each


def with_prompts(
    config: TrainConfig, composites: Path, singles: Sequence[Picture], literal: Callable[[str], str] = str
) -> TrainConfig:
    """``config`` with sample prompts: captions of its pictures (of several lines the first), each at the size that its
    picture is trained at.

    Args:
        composites: the folder of joined pictures.
        singles: pictures of the subjects; the first one in each folder is taken.
        literal: makes a prompt of the words of captions, see :meth:`lib_lora.models.base.Host.literal`.
    """
    alone: Mapping[Path, Picture] = {picture.folder: picture for picture in reversed(singles) if picture.text.strip()}
    found = [*_one_of_each_order(composites), *((p.text, p.size) for p in sorted(alone.values(), key=lambda p: p.path))]
    sized = dataset_config(config)
    lines = []
    for text, size in found[:MOST]:
        width, height = bucket_for(size, sized)
        lines.append(f"{literal(prompt_line(next(iter(lines_of(text)), '')))} --w {width} --h {height}")
    return replace(config, sample_prompts="\n".join(lines), sample_every_n_epochs=max(1, config.epochs // ROUNDS))


def _one_of_each_order(folder: Path) -> Iterator[tuple[str, Size]]:
    """(caption, size) of the first composite that begins with each of the names."""
    seen = set()
    for path in sorted(folder.glob("*.png")):
        try:
            text = read_text_file(path.with_suffix(".txt")).text
            with Image.open(path) as picture:
                size = picture.size
        except (UserError, OSError):
            continue  # Dataset and Check name it
        first = next(iter(split_tags(text)), "")
        if first and first not in seen:
            seen.add(first)
            yield text, size
