"""What one page of the Dataset tab has before it; the set itself may be shared with other pages."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Generator, Iterable, Iterator
from pathlib import Path
from threading import RLock
from typing import Any

from lib_lora.dataset.check import CheckReport
from lib_lora.dataset.collection.change import Change, Make, Move
from lib_lora.dataset.collection.hold import Hold
from lib_lora.dataset.collection.picture import Picture
from lib_lora.dataset.duplicates.groups import Duplicates
from lib_lora.dataset.editor import DatasetEditor
from lib_lora.dataset.tags.index import TagFilter
from lib_lora.dataset.text_file import plain_lines
from lib_lora.errors import UserError
from lib_lora.jobs.job import Progress
from lib_lora.jobs.views import JobView
from lib_lora.ui.dataset.last_set import note
from lib_lora.ui.dataset.shared import shared_editor
from lib_lora.workbench import Workbench

ORDERS: dict[str, tuple[str, Callable[[Picture], int]]] = {  # of the gallery -> its name, and what it goes by
    "name": ("by name", lambda _: 0),
    "newest": ("newest first", lambda picture: -picture.modified),
    "small": ("smallest first", lambda picture: picture.size[0] * picture.size[1]),
    "short": ("shortest caption first", lambda picture: len(picture.text)),
}
KIND = "dataset"  # of all jobs of this tab
PATIENCE = 20.0  # seconds that taking over waits for a change


def digest(caption: str) -> str:
    """A short name for a text."""
    return hashlib.blake2s(caption.encode(errors="surrogatepass"), digest_size=8).hexdigest()


class Session:
    """The open set, what of it is shown, marked and current, and the change that waits to be applied."""

    def __init__(self, workbench: Workbench):
        self.workbench = workbench
        self.editor: DatasetEditor | None = None
        self.hold: Hold | None = None  # this page's opening of it
        self.before: tuple[Path, ...] = ()  # what was open before the restart, to be opened again
        self._touched = self._looked = 0
        self.views: tuple[tuple[int, int, int], list[Any]] = ((-1, -1, -1), [])  # what was computed for which version
        self.page = 0
        self.filter = TagFilter()
        self.folder: Path | None = None
        self.only: tuple[str, frozenset[Path]] | None = None  # a list of pictures by name, e.g. those of a warning
        self.current: Path | None = None
        self.order = "name"  # of the gallery
        self.marked: frozenset[Path] = frozenset()
        self.pending: Change | None = None
        self.duplicates: Duplicates | None = None
        self.rejects: frozenset[Path] = frozenset()
        self.classes: dict[Path, str] = {}  # corrected by hand
        self.faces: dict[Path, tuple[float, float, float, float]] = {}
        self.typed: dict[tuple[str, str], str] = {}  # author, base -> that of what they typed on it (CaptionPanel.keep)
        self.saving = RLock()  # a field is saved once, whatever left it
        self.settled = 0  # the newest job that had ended when this set was opened: how it ended is not about this one
        self.narrowed = ""  # what the table of tags is narrowed to
        self.report: CheckReport | None = None
        self.balanced_for: tuple[bool, str] | None = None  # mirrored copies, base model
        self._keys: dict[str, Picture] = {}
        self._keys_of: tuple[Picture, ...] = ()

    @property
    def cache(self) -> Path:
        """Thumbnails, headers and signatures of all sets."""
        return self.workbench.host.paths.places.dataset

    def here(self) -> Session:
        """Itself; see `lib_lora.ui.dataset.pages.Pages`."""
        return self

    @property
    def version(self) -> tuple[int, int, int]:
        """Changes with everything that the page shows, also by what other pages do to the set.

        The last number with what is marked or looked at alone; the others are the set, and what is known of it.
        """
        return self._touched, self.editor.version if self.editor else 0, self._looked

    def touch(self) -> None:
        """Something that the page shows has changed."""
        self._touched += 1

    def look(self) -> None:
        """Another picture is current, others are marked, or another page of the gallery is turned to."""
        self._looked += 1

    def begin_as(self, other: Session) -> None:
        """Show what another page shows; from then on each goes its own way."""
        self.editor, self.filter, self.folder, self.only = other.editor, other.filter, other.folder, other.only
        self.hold = Hold(other.hold.folder, other.hold) if other.hold else None
        self.order, self.typed, self.settled = other.order, other.typed, other.settled
        self.page, self.current, self.marked, self.pending = other.page, other.current, other.marked, other.pending
        self.duplicates, self.rejects, self.report = other.duplicates, other.rejects, other.report
        self.classes, self.faces, self.balanced_for = dict(other.classes), dict(other.faces), other.balanced_for

    # -- the set ------------------------------------------------------------------------------------------------------

    def open(self, folders: Iterable[Path]) -> DatasetEditor:
        """Open folders in place of what was open."""
        editor = shared_editor(list(folders), self.cache)
        last = self.job()
        self.settled = last.id if last is not None and last.ended else self.settled
        self._hold(editor)
        note(self.workbench.host.paths.places, editor.folders)
        self.editor, self.pending, self.duplicates = editor, None, None
        self.filter, self.folder, self.only, self.page = TagFilter(), None, None, 0
        self.marked, self.rejects, self.classes, self.faces = frozenset(), frozenset(), {}, {}
        self.current = editor.pictures[0].path if editor.pictures else None
        self.touch()
        return editor

    def _hold(self, editor: DatasetEditor) -> None:
        if self.hold is not None and self.hold.folder != editor.journal.folder:
            self.hold.release()
        self.hold = Hold(editor.journal.folder)

    def rejoin(self) -> None:
        """Open the same set again where it was taken over, with everything that is shown, marked and typed here."""
        if self.editor is not None and self.hold is not None and self.hold.succeeded() is not None:
            self._hold(self.editor)

    def take_over(self) -> None:
        """Go on alone: what is being changed is waited for, and then what a crash cut off is put right.

        Raises:
            UserError: nothing is open, or the disk refuses.
        """
        editor = self.opened()
        if self.hold is not None:
            self.hold.take()
        editor.reopen(PATIENCE)
        self.touch()

    def opened(self) -> DatasetEditor:
        """The open set.

        Raises:
            UserError: there is none.
        """
        if self.editor is None:
            raise UserError("No folder is open", where="Folders", fix="Give a folder above and press Open")
        return self.editor

    def key(self, picture: Picture) -> str:
        """A name for a picture that a page can send back, whatever bytes its path has."""
        return hashlib.blake2s(os.fsencode(picture.path), digest_size=8).hexdigest()

    def base(self, picture: Picture) -> str:
        """``KEY|digest``: a picture, and the caption that it has now; goes along with what is typed for it."""
        return f"{self.key(picture)}|{digest(plain_lines(picture.text))}"

    def find(self, key: str) -> Picture:
        """The picture of that key.

        Raises:
            UserError: it is not there any more.
        """
        pictures = self.opened().pictures
        if self._keys_of is not pictures:
            self._keys, self._keys_of = {self.key(picture): picture for picture in pictures}, pictures
        if key not in self._keys:
            raise UserError("This picture is not part of the set any more", fix="Open the folder again")
        return self._keys[key]

    def current_picture(self) -> Picture:
        """The picture that is edited.

        Raises:
            UserError: none is chosen.
        """
        found = next((p for p in self.opened().pictures if p.path == self.current), None)
        if found is None:
            raise UserError("No picture is chosen", fix="Click one")
        return found

    # -- which pictures -----------------------------------------------------------------------------------------------

    def shown(self) -> list[Picture]:
        """Pictures that pass the filter, in order."""
        found = self.opened().select(self.filter)
        if self.folder is not None:
            found = [picture for picture in found if picture.folder == self.folder]
        if self.only is not None:
            found = [picture for picture in found if picture.path in self.only[1]]
        return sorted(found, key=ORDERS[self.order][1])  # sorted leaves equal ones in their order

    def chosen(self) -> list[Picture]:
        """What the tools act on: the marked pictures, or all that pass the filter where none is marked.

        Raises:
            UserError: there is none.
        """
        editor = self.opened()
        marked = [picture for picture in editor.pictures if picture.path in self.marked]
        found = marked or self.shown()
        if not found:
            raise UserError("No picture passes the filter", where="Filter", fix="Clear the filter")
        return found

    # -- changes ------------------------------------------------------------------------------------------------------

    def propose(self, change: Change) -> str:
        """Show a dry run; returns "" or why there is nothing to do."""
        self.pending = change if change or change.notes else None
        self.touch()
        return "" if change else "Nothing would change."

    def apply(self) -> int | None:
        """Carry out what was shown: at once, or as a job (whose id is returned) where pictures have to be made.

        Raises:
            UserError: nothing was shown, or it cannot be done.
        """
        change = self.pending
        if not change:
            raise UserError("There is no change to apply", fix="Choose what to do first")
        if any(isinstance(operation, Make) for operation in change.operations):
            return self.run(change.title, lambda: self._applying(change))
        self.opened().apply(change, hold=self.hold)
        self._follow(change)
        self._applied()
        return None

    def apply_now(self, change: Change) -> None:
        """Carry out a small change that needs no dry run, such as a caption that was typed."""
        pending = self.pending
        self.opened().apply(change, hold=self.hold)
        duplicates = self.duplicates
        self._applied()
        self.pending, self.duplicates = pending, duplicates

    def undo(self) -> str:
        """Take back the newest change; returns its title."""
        entry = self.opened().undo(self.hold)
        self._applied()
        return entry.title

    def _applying(self, change: Change) -> Generator[tuple[int, int], None, None]:
        yield from self.opened().applying(change, self.hold)
        self._follow(change)
        self._applied()

    def _follow(self, change: Change) -> None:
        """What is known of a picture stays known under its new name, and under the old one for an undo."""
        for move in (operation for operation in change.operations if isinstance(operation, Move)):
            for known in (self.classes, self.faces):
                if move.source in known:
                    known[move.target] = known[move.source]
                else:
                    known.pop(move.target, None)

    def _applied(self) -> None:
        self.pending, self.duplicates = None, None
        here = {picture.path for picture in self.opened().pictures}
        self.marked &= here
        if self.current not in here:
            self.current = next((picture.path for picture in self.shown()), None)
        self.touch()

    # -- long work ----------------------------------------------------------------------------------------------------

    def run(self, title: str, work: Callable[[], Iterator[tuple[int, int]]]) -> int:
        """Queue work that yields (done, total); returns the job's id."""

        def pump(_host: Any) -> Iterator[Progress]:
            yield Progress(0, 0)
            for done, total in work():
                yield Progress(done, total, "pictures")
            self.touch()

        return self.workbench.submit(KIND, title, pump)

    def job(self) -> JobView | None:
        """The newest job of this tab; none that had ended before the set was opened."""
        jobs = [job for job in self.workbench.queue.jobs() if job.kind == KIND and job.id > self.settled]
        return max(jobs, key=lambda job: job.id, default=None)
