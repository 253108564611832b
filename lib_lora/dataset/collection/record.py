"""One change on disk, so that it can be finished or taken back from wherever it was cut off.

Its folder holds ``change.json`` (what), ``before.bin`` (old bytes of replaced files), ``state`` (done or undone, once
it is), ``after.json`` (hashes of what was written) and, while something is going on, ``begun``: the number of
operations that have been begun. ``undoing`` is there while an undo is going on.

Everything new is first written under hidden names beside its place and only then renamed, so pictures, captions and
masks appear together. What is replaced keeps a second, hidden name until all is over: taking back needs no space.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from lib_lora.dataset.collection.change import Change, Make, Move, Operation, Write, new_folders
from lib_lora.errors import UserError
from lib_lora.files import atomic_write, move, naming_refusals, sha256_file, write_text

APPLYING, DONE, UNDOING, UNDONE = "applying", "done", "undoing", "undone"


@dataclass(frozen=True)
class Entry:
    """One change in the history, newest last."""

    number: int
    title: str
    time: float
    state: str
    files: int


class Record:
    """The change in ``folder``, whose name is its number."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.number = int(folder.name)

    # -- what is known ------------------------------------------------------------------------------------------------

    def state(self) -> str:
        """How far it is; a change whose undoing was begun is being undone, whatever the file says."""
        path = self.folder / "state"
        state = path.read_text(encoding="utf-8") if path.exists() else APPLYING
        return UNDOING if state == DONE and self._undoing.exists() else state

    def entry(self) -> Entry:
        """Its line in the history."""
        plan = self._plan()
        return Entry(self.number, plan["title"], plan["time"], self.state(), len(plan["operations"]))

    def begin(self, change: Change) -> None:
        """Write down what will be done, with the bytes that it replaces."""
        operations, before = [], bytearray()
        for operation in change.operations:
            line = _described(operation)
            if isinstance(operation, Write) and operation.path.exists():
                old = operation.path.read_bytes()
                line["before"] = [len(before), len(old)]
                before += old
            operations.append(line)
        with atomic_write(self.folder / "before.bin") as part:
            part.write_bytes(before)
        folders = [str(folder) for folder in new_folders(change.operations)]
        plan = {"title": change.title, "time": time.time(), "tag": uuid4().hex[:8]}
        write_text(self.folder / "change.json", json.dumps(plan | {"operations": operations, "folders": folders}))

    # -- forth --------------------------------------------------------------------------------------------------------

    def carry_out(self, operations: tuple[Operation, ...]) -> Iterator[tuple[int, int]]:
        """Make everything new, then put it in place; yields (done, total)."""
        lines, done = self._lines(), 0
        after: dict[str, str] = {}
        for line, operation in zip(lines, operations, strict=True):
            if isinstance(operation, Move):
                continue
            _make(operation, line.new)
            after[str(line.path)] = _digest(operation, line.new)
            done += 1
            yield done, len(lines)
        write_text(self.folder / "after.json", json.dumps(after))
        for number, (line, operation) in enumerate(zip(lines, operations, strict=True), start=1):
            self._count(number)
            line.put()
            if isinstance(operation, Move):
                done += 1
                yield done, len(lines)
        write_text(self.folder / "state", DONE)
        with suppress(OSError):
            self.tidy()

    def roll_back(self) -> None:
        """Put every file back, as far as this change got, and forget it."""
        if (self.folder / "change.json").exists():
            lines, old = self._lines(), self._before()
            for line in reversed(lines[: self._counted()]):
                line.take_back(old)
            for line in lines:
                line.tidy()
            self._remove_folders()
            (self.folder / "change.json").unlink()  # needs no space, unlike a note that it was taken back
        self.sweep()

    # -- and back -----------------------------------------------------------------------------------------------------

    def check_unchanged(self) -> None:
        """Raise `UserError` for the first file that is not as this change left it."""
        moved_on: set[str] = set()
        after = json.loads((self.folder / "after.json").read_text(encoding="utf-8"))
        for line in reversed(self._lines()):
            written = after.get(str(line.path))
            intact = str(line.path) in moved_on or line.path.exists()
            if not intact or (written and sha256_file(line.path) != written):
                fix = "Put it back as it was, or go on without undoing"
                raise UserError(
                    "The file was changed after this step, so it cannot be undone", where=line.path, fix=fix
                )
            moved_on.add(str(line.source or ""))

    def undo(self) -> None:
        """Take back a change that stands. If that fails, it stands as before.

        Raises:
            OSError, UserError: what went wrong; `state` tells whether everything is as it was.
        """
        (self.folder / "begun").unlink(missing_ok=True)
        self._undoing.touch()
        try:
            self.finish_undo()
        except Exception:
            with suppress(OSError, UserError):
                self.give_up_undo()
            raise

    def finish_undo(self) -> None:
        """Go on with an undo from wherever it is."""
        lines, old, begun = self._lines(), self._before(), self._counted()
        if begun == 0:
            for line in lines:
                line.stage_old(old)
        for number, line in enumerate(reversed(lines), start=1):
            if number >= begun:
                self._count(number)
                line.undo()
        write_text(self.folder / "state", UNDONE)
        with suppress(OSError):
            self.tidy()

    def give_up_undo(self) -> None:
        """What an undo has taken back is put in place again."""
        lines = self._lines()
        begun = self._counted()
        for line in lines[len(lines) - begun :]:
            line.redo()
        for line in lines:
            line.tidy()
        (self.folder / "begun").unlink(missing_ok=True)
        self._undoing.unlink(missing_ok=True)

    def tidy(self) -> None:
        """Remove what only a change that is going on needs; to be repeated until it has worked."""
        for line in self._lines():
            line.tidy()
        if self.state() == UNDONE:
            self._remove_folders()
            self._undoing.unlink(missing_ok=True)
        (self.folder / "begun").unlink(missing_ok=True)

    def untidy(self) -> bool:
        """Whether a crash came between the end and `tidy`."""
        return (self.folder / "begun").exists()

    def sweep(self) -> None:
        """Remove the record itself, when it is of no change (any more)."""
        for name in ("before.bin", "after.json", "begun", "state", "undoing"):
            (self.folder / name).unlink(missing_ok=True)
        for part in self.folder.glob(".*.part"):
            part.unlink(missing_ok=True)
        with suppress(OSError):
            self.folder.rmdir()

    # -- small parts --------------------------------------------------------------------------------------------------

    @property
    def _undoing(self) -> Path:
        return self.folder / "undoing"

    def _count(self, number: int) -> None:
        with open(self.folder / "begun", "a", encoding="ascii") as file:
            file.write(f"{number}\n")

    def _counted(self) -> int:
        """Operations that have been begun; a line that was cut off belongs to one that was not."""
        path = self.folder / "begun"
        lines = path.read_text(encoding="ascii").splitlines(keepends=True) if path.exists() else []
        whole = [int(line) for line in lines if line.endswith("\n") and line.strip().isdigit()]
        return whole[-1] if whole else 0

    def _remove_folders(self) -> None:
        for folder in reversed(self._plan()["folders"]):
            with suppress(OSError):
                Path(folder).rmdir()

    def _before(self) -> bytes:
        return (self.folder / "before.bin").read_bytes()

    def _plan(self) -> dict[str, Any]:
        plan: dict[str, Any] = json.loads((self.folder / "change.json").read_text(encoding="utf-8"))
        return plan

    def _lines(self) -> list[_Line]:
        plan = self._plan()
        tag = plan.get("tag", self.folder.name)
        return [_Line(line, f".{tag}-{number:05}") for number, line in enumerate(plan["operations"], start=1)]


class _Line:
    """An operation as it is written down, and what can be done about its file; every method may be repeated.

    Args:
        line: ``source`` and ``target`` of a move, else ``path``, and ``before``: where its old bytes are.
        hidden: how names that only this operation uses begin.
    """

    def __init__(self, line: dict[str, Any], hidden: str):
        self.source = Path(line["source"]) if "source" in line else None
        self.path = Path(line["target"] if "source" in line else line["path"])
        self._span: list[int] | None = line.get("before")
        self.new = self.path.with_name(f"{hidden}.new")  # not in place yet
        self.kept = self.path.with_name(f"{hidden}.kept")  # in place before

    def put(self) -> None:
        """Move, or put what was made in place."""
        if self.source is not None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            move(self.source, self.path)
            return
        if self._span is not None:
            _keep(self.path, self.kept)
        elif self.path.exists():
            raise FileExistsError(17, "a file of this name has appeared", str(self.path))
        move(self.new, self.path)

    def take_back(self, old: bytes) -> None:
        """The opposite of `put`, which was begun at least."""
        if self.source is not None:
            _move_back(self.path, self.source)
        elif self.new.exists():
            _move_back(self.kept, self.path)
        elif self._span is None:
            self.path.unlink(missing_ok=True)
        elif self.kept.exists():
            move(self.kept, self.path)
        elif not self.path.exists() or self.path.read_bytes() != self._old(old):
            with atomic_write(self.path, durable=False) as part:
                part.write_bytes(self._old(old))

    def stage_old(self, old: bytes) -> None:
        """Write what was there before beside its place."""
        if self._span is not None:
            with naming_refusals(self.path), open(self.new, "wb") as file:
                file.write(self._old(old))

    def undo(self) -> None:
        """As `take_back`, but what was made is kept until all is over."""
        if self.source is not None:
            _move_back(self.path, self.source)
        elif self._span is None:
            if self.path.exists() and not self.kept.exists():
                move(self.path, self.kept)
        elif self.new.exists():
            _keep(self.path, self.kept)
            move(self.new, self.path)

    def redo(self) -> None:
        """The opposite of `undo`, which was begun at least."""
        if self.source is not None:
            _move_back(self.source, self.path)
        elif self.kept.exists() and (self._span is None or not self.new.exists()):
            move(self.kept, self.path)
        else:
            _move_back(self.kept, self.path)

    def tidy(self) -> None:
        """Only the file itself is left."""
        self.new.unlink(missing_ok=True)
        self.kept.unlink(missing_ok=True)

    def _old(self, old: bytes) -> bytes:
        start, length = self._span or (0, 0)
        return old[start : start + length]


def _keep(path: Path, kept: Path) -> None:
    """A second name for a file, which costs no space; where the file system knows none, it is the only one a moment."""
    if not path.exists():  # cut off after the second half of this
        return
    kept.unlink(missing_ok=True)
    try:
        os.link(path, kept)
    except (OSError, NotImplementedError):
        move(path, kept)


def _move_back(here: Path, there: Path) -> None:
    if here.exists() and not there.exists():
        there.parent.mkdir(parents=True, exist_ok=True)
        move(here, there)


def _described(operation: Operation) -> dict[str, Any]:
    if isinstance(operation, Move):
        return {"source": str(operation.source), "target": str(operation.target)}
    return {"path": str(operation.path)}


def _make(operation: Write | Make, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with naming_refusals(operation.path):
        if isinstance(operation, Make):
            operation.make(path)
        else:
            path.write_bytes(operation.content)


def _digest(operation: Write | Make, path: Path) -> str:
    if isinstance(operation, Write):
        return hashlib.sha256(operation.content).hexdigest()
    return sha256_file(path)
