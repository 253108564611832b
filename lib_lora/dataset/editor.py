"""The dataset being prepared: what the Dataset tab and the command line call.

Every ``plan_…`` function here and in the packages below returns a `Change`, which is the dry run; `DatasetEditor.apply`
carries it out and `DatasetEditor.undo` takes it back.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from functools import cached_property
from pathlib import Path
from threading import RLock

from lib_lora.dataset.collection.captions import plan_tags
from lib_lora.dataset.collection.change import Change, Make, Move, Write
from lib_lora.dataset.collection.headers import Headers
from lib_lora.dataset.collection.hold import Hold
from lib_lora.dataset.collection.journal import Journal, Progress
from lib_lora.dataset.collection.opening import open_folders, reread
from lib_lora.dataset.collection.owner import WAIT
from lib_lora.dataset.collection.picture import Picture
from lib_lora.dataset.collection.record import Entry
from lib_lora.dataset.collection.thumbnails import Thumbnails
from lib_lora.dataset.problems import BadFile, Problem
from lib_lora.dataset.tags.edits import Edit
from lib_lora.dataset.tags.index import TagFilter, TagIndex
from lib_lora.dataset.tags.pieces import first_line
from lib_lora.errors import UserError

STATE_FOLDER = ".lora-workbench"  # beside the pictures; listings pass over it
PREVIEW_SIDE = 896  # pixels of the longer side of a picture that is worked on
REJECTED_FOLDER = ".rejected"  # where copies are set aside; neither listed nor trained
ORIGINALS_FOLDER = ".originals"  # where pictures are set aside that an edited copy replaces


class DatasetEditor:
    """Pictures of some folders, with a history of changes. Safe to be shared by threads; ``version`` counts the looks.

    Args:
        folders: what to open; sub-folders are included.
        cache: where thumbnails and headers are remembered; may be shared by all sets.

    Raises:
        UserError: no folder is given.
    """

    def __init__(self, folders: Sequence[Path], cache: Path):
        if not folders:
            raise UserError("No folder to open", fix="Choose a folder of images")
        self.folders = tuple(Path(folder).absolute() for folder in folders)
        self.rejected = self.folders[0] / REJECTED_FOLDER
        self.originals = self.folders[0] / ORIGINALS_FOLDER
        self.journal = Journal(self.folders[0] / STATE_FOLDER / "journal")
        self.thumbnails = Thumbnails(Path(cache) / "thumbnails")
        self.previews = Thumbnails(Path(cache) / "previews", PREVIEW_SIDE)
        self._headers = Headers(Path(cache) / "headers.json")
        self.version = 0
        self._looking = RLock()
        self.reopen()

    def reopen(self, wait: float = WAIT) -> None:
        """Put right what a crash has cut off, and look at the folders again; see `Journal.recover`."""
        self.recovered = self.journal.recover(wait)
        self.refresh()

    def refresh(self) -> None:
        """Look at the folders again. Files that did not change are not read, except their captions."""
        with self._looking:
            self._show(*self._open())

    @cached_property
    def tags(self) -> TagIndex:
        """Tags of the pictures; rows are positions in ``pictures``."""
        pictures = self.pictures
        lines = {row: picture.text[first_line(picture.text)[1] :] for row, picture in enumerate(pictures)}
        further = {row: text for row, text in lines.items() if text.strip()}
        return TagIndex([picture.tags for picture in pictures], further)

    def select(self, wanted: TagFilter) -> list[Picture]:
        """Pictures that pass the filter."""
        return [self.pictures[row] for row in self.tags.select(wanted)]

    def lacking(self, trigger: str) -> list[Picture]:
        """Pictures without this activation tag."""
        return [self.pictures[row] for row in self.tags.lacking([trigger])]

    def plan_tags(self, edit: Edit, title: str, pictures: Iterable[Picture] | None = None) -> Change:
        """Dry run of a tag edit on these pictures, or on all."""
        return plan_tags(self.pictures if pictures is None else list(pictures), edit, title)

    def apply(self, change: Change, progress: Progress | None = None, hold: Hold | None = None) -> Entry | None:
        """Carry out a change, whole or not at all; None when there is nothing to do.

        Raises:
            UserError: see `Journal.apply`.
        """
        if not change:
            return None
        entry = self.journal.apply(change, progress, hold)
        self._after(change)
        return entry

    def applying(self, change: Change, hold: Hold | None = None) -> Generator[tuple[int, int], None, Entry]:
        """`apply` in steps, for long changes; see `Journal.applying`."""
        entry = yield from self.journal.applying(change, hold)
        self._after(change)
        return entry

    def _after(self, change: Change) -> None:
        if any(isinstance(operation, (Make, Move)) or _is_mask(operation) for operation in change.operations):
            self.refresh()
        else:
            with self._looking:
                self._reread({operation.path for operation in change.operations})

    def undo(self, hold: Hold | None = None) -> Entry:
        """Take back the newest change.

        Raises:
            UserError: there is none, or a file has been changed since; see `Journal.undo`.
        """
        entry = self.journal.undo(hold)
        self.refresh()
        return entry

    def history(self) -> list[Entry]:
        """All changes, oldest first."""
        return self.journal.entries()

    def _open(self) -> tuple[tuple[Picture, ...], tuple[Problem, ...]]:
        opened = open_folders(self.folders, self._headers)
        return opened.pictures, opened.problems

    def _reread(self, captions: set[Path]) -> None:
        pictures, problems = [], list(self.problems)
        for picture in self.pictures:
            try:
                pictures.append(reread(picture, self._headers) if picture.caption in captions else picture)
            except BadFile as error:
                problems.append(Problem.of(picture.path, error))
        self._show(tuple(pictures), tuple(problems))

    def _show(self, pictures: tuple[Picture, ...], problems: tuple[Problem, ...]) -> None:
        self.pictures, self.problems = pictures, problems
        self.version += 1
        self.__dict__.pop("tags", None)


def _is_mask(write: Write) -> bool:
    return write.path.suffix == ".png"
