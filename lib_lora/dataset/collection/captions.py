"""Edits of tags, planned as changes to caption files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from lib_lora.dataset.collection.change import Change, Example, Write
from lib_lora.dataset.collection.picture import Picture
from lib_lora.dataset.problems import BadFile
from lib_lora.dataset.tags.edits import Edit, ReplacePattern, Tags
from lib_lora.dataset.tags.pieces import is_sentence
from lib_lora.dataset.tags.rewriting import rewritten
from lib_lora.dataset.tags.text import join, split_text
from lib_lora.dataset.text_file import TextFile, plain_lines, read_text_file

EXAMPLES = 5


def plan_tags(pictures: Sequence[Picture], edit: Edit, title: str) -> Change:
    """Apply an edit to the tags of these pictures. Captions that it leaves as they are, are not written."""
    if isinstance(edit, ReplacePattern):
        edit.prepare(tag for picture in pictures for tag in picture.tags)
    return plan_new_tags([(picture, edit(picture.tags)) for picture in pictures], title)


def plan_new_tags(changes: Iterable[tuple[Picture, Tags]], title: str) -> Change:
    """Give pictures other tags; whatever else their caption files hold stays, to the byte (see `rewritten`).

    Where tags came from the side-car of a downloader, which stays as it is, the caption is a new file.
    """
    plan = _Plan(title)
    for picture, tags in changes:
        if tags == picture.tags:
            continue
        if plan.put(picture, text_with(picture, tags)):
            plan.counts["tags added"] += len(set(tags) - set(picture.tags))
            plan.counts["tags removed"] += len(set(picture.tags) - set(tags))
            plan.counts["captions only reordered"] += set(tags) == set(picture.tags)
    return plan.change()


def plan_texts(changes: Iterable[tuple[Picture, str]], title: str) -> Change:
    """Give pictures these captions as they were typed; lines that were not touched keep their line ends."""
    plan = _Plan(title)
    for picture, text in changes:
        if text != plain_lines(picture.text):
            plan.put(picture, text, typed=True)
    return plan.change()


def text_with(picture: Picture, tags: Tags) -> str:
    """What the caption of a picture, or of a copy of it, says with these tags in place of its own."""
    if tags == picture.tags:
        return picture.text
    return rewritten(picture.text, tags) if picture.captioned else join(tags)


def plan_import(pictures: Sequence[Picture]) -> Change:
    """Write ``name.txt`` wherever the tags come from a downloader's side-car, which training does not read."""
    plan = _Plan("Write captions for training")
    for picture in pictures:
        if picture.tags and not picture.captioned:
            plan.put(picture, join(picture.tags))
    return plan.change()


def plan_one_line(pictures: Sequence[Picture]) -> Change:
    """Captions with a tag a line, or parted by blanks as boorus do, in one line parted by commas.

    Captions that have commas or sentences are left alone.
    """
    plan = _Plan("Part tags by commas")
    for picture in pictures:
        tags = split_text(picture.text)
        if picture.captioned and len(tags) > 1 and "," not in picture.text and not any(map(is_sentence, tags)):
            plan.put(picture, join(tags))
    return plan.change()


class _Plan:
    """Captions that will be written, with what is shown of them."""

    def __init__(self, title: str):
        self.title = title
        self.counts: Counter[str] = Counter()
        self._writes: dict[Path, Write] = {}
        self._examples: list[Example] = []
        self._locked: list[Picture] = []

    def put(self, picture: Picture, text: str, typed: bool = False) -> bool:
        """Write a caption; False where it would be the same or must be left alone."""
        file = self._now(picture) if picture.captioned else TextFile()
        if not picture.readable or file is None:
            self._locked.append(picture)
            return False
        new = file.typed(text) if typed and picture.captioned else text
        if new == file.text or picture.caption in self._writes:
            return False
        before = file.encoded(file.text) if picture.captioned else b""
        self._writes[picture.caption] = Write(picture.caption, file.encoded(new), before)
        if len(self._examples) < EXAMPLES:
            self._examples.append(Example(picture.path, file.text, new))
        return True

    def _now(self, picture: Picture) -> TextFile | None:
        """The caption file, unless it says something else than what was shown when the edit was chosen."""
        try:
            file = read_text_file(picture.caption)
        except BadFile:
            return None
        return file if file.text == picture.text else None

    def change(self) -> Change:
        counts = {"captions written": len(self._writes)} | {name: count for name, count in self.counts.items() if count}
        return Change(self.title, tuple(self._writes.values()), counts, tuple(self._examples), self._notes())

    def _notes(self) -> tuple[str, ...]:
        if not self._locked:
            return ()
        names = ", ".join(picture.path.name for picture in self._locked[:EXAMPLES])
        why = "their captions cannot be read, or were changed by another program since the folder was opened"
        return (f"Left alone, because {why}: {len(self._locked)} ({names})",)
