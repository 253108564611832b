"""Tag many pictures: with progress, breaking off and going on, then as one change."""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from PIL import Image

from lib_lora.dataset.collection.captions import plan_new_tags
from lib_lora.dataset.collection.change import Change
from lib_lora.dataset.collection.picture import Picture
from lib_lora.dataset.images import load_rgb
from lib_lora.dataset.problems import BadFile, Problem
from lib_lora.dataset.tags.edits import Add, Tags
from lib_lora.errors import UserError
from lib_lora.files import make_folder, naming_refusals

APPEND, REPLACE, MISSING = MODES = ("append", "replace", "missing")


class Tagger(Protocol):
    """Anything that gives pictures tags."""

    batch_size: int

    @property
    def key(self) -> str:
        """Changes whenever the same picture might get other tags."""

    def tag(self, images: Sequence[Image.Image]) -> list[Tags]:
        """Tags of up to ``batch_size`` RGB pictures of any size."""


@dataclass(frozen=True)
class Tagged:
    """New tags by picture, and pictures that could not be read."""

    tags: Mapping[Picture, Tags]
    problems: tuple[Problem, ...]


def chosen(pictures: Sequence[Picture], mode: str) -> list[Picture]:
    """The pictures that need a look: those without tags, or all.

    Raises:
        UserError: ``mode`` is not one of "append", "replace" and "missing".
    """
    if mode not in MODES:
        raise UserError(f"{mode} is no way to join tags", where="mode", fix=f"Use one of {', '.join(MODES)}")
    return [picture for picture in pictures if mode != MISSING or not picture.tags]


def tag_pictures(pictures: Sequence[Picture], tagger: Tagger, memory: Path) -> Generator[tuple[int, int], None, Tagged]:
    """Tag pictures batch by batch; yields (done, total).

    Args:
        memory: a file that keeps every result, so that a run that was broken off (by closing this generator, or by a
            crash) goes on where it was. Pictures or settings that have changed are looked at again.
    """
    known = _read(memory)
    found = {p: known[key] for p in pictures if (key := _key(p, tagger)) in known}
    problems: list[Problem] = []
    todo = [picture for picture in pictures if picture not in found]
    yield len(found), len(pictures)
    make_folder(memory.parent)
    with naming_refusals(memory), open(memory, "a", encoding="utf-8", newline="\n") as file:
        for start in range(0, len(todo), tagger.batch_size):
            batch, images = _load(todo[start : start + tagger.batch_size], problems)
            for picture, tags in zip(batch, tagger.tag(images) if images else [], strict=True):
                found[picture] = tags
                file.write("\n" + json.dumps({"key": _key(picture, tagger), "tags": tags}))
            file.flush()
            yield len(found) + len(problems), len(pictures)
    return Tagged(found, tuple(problems))


def plan_tagging(tagged: Tagged, mode: str) -> Change:
    """The captions that result: new tags behind those that are there ("append"), instead of them, or where none are."""
    pictures = chosen(list(tagged.tags), mode)
    changes = [(p, Add(tagged.tags[p])(p.tags) if mode == APPEND else tagged.tags[p]) for p in pictures]
    return plan_new_tags(changes, "Tag pictures")


def _load(pictures: Sequence[Picture], problems: list[Problem]) -> tuple[list[Picture], list[Image.Image]]:
    batch, images = [], []
    for picture in pictures:
        try:
            images.append(load_rgb(picture.path))
            batch.append(picture)
        except BadFile as error:
            problems.append(Problem.of(picture.path, error))
    return batch, images


def _key(picture: Picture, tagger: Tagger) -> str:
    return f"{picture.path}|{picture.modified}|{picture.bytes}|{tagger.key}"


def _read(memory: Path) -> dict[str, Tags]:
    """All whole lines; one that a crash has cut off is passed over, as each entry begins with a line end."""
    known: dict[str, Tags] = {}
    if memory.is_file():
        for line in memory.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                entry = json.loads(line)
                known[entry["key"]] = tuple(entry["tags"])
            except (ValueError, KeyError, TypeError):
                continue
    return known
