"""Changes to files, carried out whole or not at all, and undone to the byte.

Each change is a folder: ``change.json`` (what), ``before.bin`` (old bytes of replaced files), ``begun`` (last line: how
many operations have been begun), ``state`` (applying, done, undone), ``after.json`` (hashes of what was written). The
first two are on disk before the first file is touched, so a change that a crash cut short is rolled back by
`Journal.recover`.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from lib_lora.dataset.collection.change import Change, Make, Move, Operation, Write, check, new_folders
from lib_lora.errors import UserError
from lib_lora.files import atomic_write, move, sha256_file, write_text

Progress = Callable[[int, int], None]
APPLYING, DONE, UNDONE = "applying", "done", "undone"


@dataclass(frozen=True)
class Entry:
    """One change in the history, newest last."""

    number: int
    title: str
    time: float
    state: str
    files: int


class Journal:
    """The history of one set of pictures, kept in ``folder``."""

    def __init__(self, folder: Path):
        self.folder = Path(folder)

    def entries(self) -> list[Entry]:
        """All changes, oldest first; unreadable records are passed over."""
        found = []
        for record in self._records():
            with suppress(OSError, ValueError, KeyError):
                found.append(record.entry())
        return found

    def apply(self, change: Change, progress: Progress | None = None) -> Entry:
        """Carry out a planned change. If anything fails, all of it is taken back.

        Raises:
            UserError: a file is missing or in the way, or the disk refuses.
        """
        work = self.applying(change)
        while True:
            try:
                done = next(work)
            except StopIteration as finished:
                return finished.value
            if progress:
                progress(*done)

    def applying(self, change: Change) -> Generator[tuple[int, int], None, Entry]:
        """`apply` operation by operation; yields (done, total). Closing it before the end takes all of it back."""
        check(change.operations)
        numbers = [int(record.folder.name) for record in self._records()]
        record = _Record(self.folder / f"{max(numbers, default=0) + 1:06}")
        try:
            record.begin(change)
            yield from record.carry_out(change.operations)
        except BaseException as error:
            record.roll_back()
            if isinstance(error, OSError):
                what = f"The change could not be made and was taken back ({error.strerror or error})"
                raise UserError(what, where=error.filename, fix="Check the rights and the free space") from error
            raise
        return record.entry()

    def undo(self) -> Entry:
        """Take back the newest change that stands.

        Raises:
            UserError: there is none, or a file has been changed by somebody else since.
        """
        record = next((r for r in reversed(self._records()) if r.state() == DONE), None)
        if record is None:
            raise UserError("There is nothing to undo", where=self.folder)
        record.check_unchanged()
        record.roll_back()
        return record.entry()

    def recover(self) -> list[str]:
        """Roll back what a crash left half done; the titles of these changes."""
        broken = [record for record in self._records() if record.state() == APPLYING]
        for record in broken:
            record.roll_back()
        return [record.entry().title for record in broken]

    def _records(self) -> list[_Record]:
        folders = sorted(self.folder.glob("[0-9]*/change.json")) if self.folder.is_dir() else []
        return [_Record(path.parent) for path in folders]


class _Record:
    """One change on disk."""

    def __init__(self, folder: Path):
        self.folder = folder

    def state(self) -> str:
        path = self.folder / "state"
        return path.read_text(encoding="utf-8") if path.exists() else APPLYING

    def entry(self) -> Entry:
        plan = self._plan()
        return Entry(int(self.folder.name), plan["title"], plan["time"], self.state(), len(plan["operations"]))

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
        plan = {"title": change.title, "time": time.time(), "operations": operations, "folders": folders}
        write_text(self.folder / "change.json", json.dumps(plan))

    def carry_out(self, operations: tuple[Operation, ...]) -> Iterator[tuple[int, int]]:
        with open(self.folder / "begun", "a", encoding="ascii", buffering=1) as begun:
            for number, operation in enumerate(operations, start=1):
                begun.write(f"{number}\n")
                _do(operation)
                yield number, len(operations)
        after = {str(o.path): _digest(o) for o in operations if not isinstance(o, Move)}
        write_text(self.folder / "after.json", json.dumps(after))
        write_text(self.folder / "state", DONE)

    def check_unchanged(self) -> None:
        """Raise `UserError` for the first file that is not as this change left it."""
        moved_on: set[str] = set()
        after = json.loads((self.folder / "after.json").read_text(encoding="utf-8"))
        for line in reversed(self._plan()["operations"]):
            path = line["target"] if "source" in line else line["path"]
            written = after.get(path)
            intact = path in moved_on or Path(path).exists()
            if not intact or (written and sha256_file(path) != written):
                fix = "Put it back as it was, or go on without undoing"
                raise UserError("The file was changed after this step, so it cannot be undone", where=path, fix=fix)
            moved_on.add(line.get("source", ""))

    def roll_back(self) -> None:
        """Put every file back, as far as this change got."""
        if not (self.folder / "change.json").exists():
            return
        plan = self._plan()
        old = (self.folder / "before.bin").read_bytes()
        with open(self.folder / "begun", "a", encoding="ascii", buffering=1) as begun:
            for number in range(self._begun(), 0, -1):
                _take_back(plan["operations"][number - 1], old)
                begun.write(f"{number - 1}\n")
        for folder in reversed(plan["folders"]):
            with suppress(OSError):
                Path(folder).rmdir()
        write_text(self.folder / "state", UNDONE)

    def _begun(self) -> int:
        path = self.folder / "begun"
        lines = path.read_text(encoding="ascii").split() if path.exists() else []
        return int(lines[-1]) if lines else 0

    def _plan(self) -> dict:
        return json.loads((self.folder / "change.json").read_text(encoding="utf-8"))


def _described(operation: Operation) -> dict:
    if isinstance(operation, Move):
        return {"source": str(operation.source), "target": str(operation.target)}
    return {"path": str(operation.path)}


def _do(operation: Operation) -> None:
    if isinstance(operation, Move):
        operation.target.parent.mkdir(parents=True, exist_ok=True)
        move(operation.source, operation.target)
        return
    with atomic_write(operation.path, durable=False) as part:  # the journal has what is needed after a crash
        if isinstance(operation, Make):
            operation.make(part)
        else:
            part.write_bytes(operation.content)


def _digest(operation: Write | Make) -> str:
    if isinstance(operation, Write):
        return hashlib.sha256(operation.content).hexdigest()
    return sha256_file(operation.path)


def _take_back(line: dict, old: bytes) -> None:
    if "source" in line:
        source, target = Path(line["source"]), Path(line["target"])
        if target.exists() and not source.exists():
            source.parent.mkdir(parents=True, exist_ok=True)
            move(target, source)
        return
    path = Path(line["path"])
    if "before" not in line:
        path.unlink(missing_ok=True)
        return
    start, length = line["before"]
    content = old[start : start + length]
    if not path.exists() or path.read_bytes() != content:
        with atomic_write(path, durable=False) as part:
            part.write_bytes(content)
