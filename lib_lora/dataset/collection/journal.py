"""Changes to files, carried out whole or not at all, and undone to the byte, also under two faults in a row.

One change at a time: whatever a crash cut off is finished or taken back before another begins, and nobody touches a
change that is alive (`changing`). How a single change is written down is said at `Record`.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import suppress
from pathlib import Path

from lib_lora.dataset.collection.change import Change, check
from lib_lora.dataset.collection.hold import Hold
from lib_lora.dataset.collection.owner import WAIT, Busy, changing
from lib_lora.dataset.collection.record import APPLYING, DONE, UNDOING, Entry, Record
from lib_lora.errors import UserError

Progress = Callable[[int, int], None]
UNREADABLE = (OSError, ValueError, KeyError, TypeError)


class Journal:
    """The history of one set of pictures, kept in ``folder``.

    ``trouble`` says what keeps an interrupted change from being taken back; the set can be looked at all the same.
    """

    def __init__(self, folder: Path):
        self.folder = Path(folder)
        self.trouble: UserError | None = None

    def entries(self) -> list[Entry]:
        """All changes, oldest first; unreadable records are passed over."""
        found = []
        for record in self._records():
            with suppress(*UNREADABLE):
                found.append(record.entry())
        return found

    def apply(self, change: Change, progress: Progress | None = None, hold: Hold | None = None) -> Entry:
        """Carry out a planned change. If anything fails, all of it is taken back.

        Args:
            hold: the opening of the set that the change comes from; None asks nobody.

        Raises:
            UserError: a file is missing or in the way, the disk refuses, somebody else changes the set, or has taken it
                over since that opening.
        """
        work = self.applying(change, hold)
        while True:
            try:
                done = next(work)
            except StopIteration as finished:
                entry: Entry = finished.value
                return entry
            if progress:
                progress(*done)

    def applying(self, change: Change, hold: Hold | None = None) -> Generator[tuple[int, int], None, Entry]:
        """`apply` operation by operation; yields (done, total). Closing it before the end takes all of it back."""
        with _named("The change could not be made"), changing(self.folder, change.title) as claim:
            _admit(hold)
            self._settle()
            check(change.operations)
            numbers = [record.number for record in self._records()]
            record = Record(self.folder / f"{max(numbers, default=0) + 1:06}")
            try:
                record.begin(change)
                for done in record.carry_out(change.operations):
                    claim.sign()
                    yield done
            except BaseException as error:
                self._take_back(record, error)
                raise
            return record.entry()

    def undo(self, hold: Hold | None = None) -> Entry:
        """Take back the newest change that stands. If anything fails, it stands as before.

        Raises:
            UserError: there is none, a file has been changed by somebody else since, or see `apply`.
        """
        with _named("The change could not be taken back"), changing(self.folder, "Undo"):
            _admit(hold)
            self._settle()
            record = next((r for r in reversed(self._records()) if _state(r) == DONE), None)
            if record is None:
                raise UserError("There is nothing to undo", where=self.folder)
            record.check_unchanged()
            try:
                record.undo()
            except Exception as error:
                if record.state() == UNDOING:
                    raise _half("taken back", error) from error
                raise
            return record.entry()

    def recover(self, wait: float = WAIT) -> list[str]:
        """Finish or take back what a crash cut off; the titles of these changes.

        One whose owner is alive is waited for, up to ``wait`` seconds, and then left alone.
        """
        self.trouble = None
        if not any(_unsettled(record) for record in self._records(all_folders=True)):
            return []
        try:
            with changing(self.folder, "Recovery", wait):
                return self._settle()
        except Busy:
            return []
        except UserError as error:
            self.trouble = error
        except OSError as error:
            self.trouble = _half("changed", error)
        return []

    def _settle(self) -> list[str]:
        titles = []
        for record in self._records(all_folders=True):
            if not (record.folder / "change.json").exists():
                record.sweep()
                continue
            try:
                state, title = record.state(), record.entry().title
            except UNREADABLE as error:
                if _state(record) == APPLYING:
                    fix = "Look whether its files are as they should be, then delete this folder"
                    what = "The record of a change that was cut off is damaged"
                    raise UserError(what, where=record.folder, fix=fix) from error
                continue
            try:
                if state == APPLYING:
                    record.roll_back()
                elif state == UNDOING:
                    self._finish_undo(record)
                elif record.untidy():
                    record.tidy()
                    continue
                else:
                    continue
            except (OSError, UserError) as error:
                raise _half("changed" if state == APPLYING else "taken back", error) from error
            titles.append(title)
        return titles

    def _finish_undo(self, record: Record) -> None:
        try:
            record.finish_undo()
        except (OSError, UserError):
            record.give_up_undo()

    def _take_back(self, record: Record, error: BaseException) -> None:
        """Roll back after ``error``; raises what is true of the files if that fails too."""
        if _state(record) == DONE:
            return
        try:
            record.roll_back()
        except (OSError, UserError) as second:
            raise _half("changed", second) from error

    def _records(self, all_folders: bool = False) -> list[Record]:
        folders = sorted(self.folder.glob("[0-9]*")) if self.folder.is_dir() else []
        wanted = [f for f in folders if f.name.isdigit() and (all_folders or (f / "change.json").exists())]
        return [Record(folder) for folder in wanted]


class _named:
    """Errors of the system become one that says what was not done; ours stay as they are."""

    def __init__(self, what: str):
        self.what = what

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError):
            what = f"{self.what}; nothing was changed ({error.strerror or error})"
            raise UserError(what, where=error.filename, fix="Check the rights and the free space") from error


def _admit(hold: Hold | None) -> None:
    if hold is not None:
        hold.check()


def _state(record: Record) -> str:
    try:
        return record.state()
    except UNREADABLE:
        return ""


def _unsettled(record: Record) -> bool:
    return not (record.folder / "change.json").exists() or _state(record) in (APPLYING, UNDOING) or record.untidy()


def _half(done: str, error: Exception) -> UserError:
    cause = error.what if isinstance(error, UserError) else getattr(error, "strerror", None) or str(error)
    what = f"Some files are {done} and others not yet, because of a second fault: {cause}"
    fix = "Free some space or check the rights, then open the folder again: that is put right before anything else"
    return UserError(what, where=getattr(error, "filename", None) or getattr(error, "where", None), fix=fix)
