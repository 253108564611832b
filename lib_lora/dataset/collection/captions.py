"""Edits of tags, planned as changes to caption files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from lib_lora.dataset.collection.change import Change, Example, Write
from lib_lora.dataset.collection.picture import Picture
from lib_lora.dataset.tags.edits import Edit, Tags
from lib_lora.dataset.tags.text import join

EXAMPLES = 5


def plan_tags(pictures: Sequence[Picture], edit: Edit, title: str) -> Change:
    """Apply an edit to the tags of these pictures. Captions that it leaves as they are, are not written."""
    return plan_new_tags([(picture, edit(picture.tags)) for picture in pictures], title)


def plan_new_tags(changes: Iterable[tuple[Picture, Tags]], title: str) -> Change:
    """Give pictures other tags.

    A caption goes to ``name.txt`` (or the ``name.caption`` that is there); side-cars of downloaders stay as they are.
    """
    writes: dict[Path, Write] = {}
    examples: list[Example] = []
    counts: Counter[str] = Counter()
    locked: list[Picture] = []
    for picture, tags in changes:
        if tags == picture.tags:
            continue
        if not picture.readable:
            locked.append(picture)
            continue
        counts["tags added"] += len(set(tags) - set(picture.tags))
        counts["tags removed"] += len(set(picture.tags) - set(tags))
        counts["captions only reordered"] += set(tags) == set(picture.tags)
        writes[picture.caption] = Write(picture.caption, _content(picture, tags))
        if len(examples) < EXAMPLES:
            examples.append(Example(picture.path, join(picture.tags), join(tags)))
    return Change(
        title,
        tuple(writes.values()),
        {"captions written": len(writes)} | {name: count for name, count in counts.items() if count},
        tuple(examples),
        _notes(locked),
    )


def plan_import(pictures: Sequence[Picture]) -> Change:
    """Write ``name.txt`` wherever training would not read the tags as they are shown here.

    That is where they come from a downloader's side-car, or are parted by line ends or blanks.
    """
    writes, examples, locked = [], [], []
    for picture in pictures:
        if not picture.tags or picture.source is None:
            continue
        if not picture.readable:
            locked.append(picture)
            continue
        content = _content(picture, picture.tags)
        written = picture.caption.read_bytes() if picture.source == picture.caption else None
        if written is not None and written.split() == content.split():  # blanks and line ends do no harm
            continue
        writes.append(Write(picture.caption, content))
        if len(examples) < EXAMPLES:
            examples.append(Example(picture.path, picture.source.name, join(picture.tags)))
    counts = {"captions written": len(writes)}
    return Change("Write captions for training", tuple(writes), counts, tuple(examples), _notes(locked))


def _content(picture: Picture, tags: Tags) -> bytes:
    return "\n".join(filter(None, [join(tags), picture.rest])).encode()


def _notes(locked: Sequence[Picture]) -> tuple[str, ...]:
    if not locked:
        return ()
    names = ", ".join(picture.path.name for picture in locked[:EXAMPLES])
    return (f"Left alone, because their captions cannot be read: {len(locked)} ({names})",)
