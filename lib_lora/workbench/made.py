"""Pictures drawn for a training set: begun, gone on with, chosen from; all of it is on disk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from lib_lora.dataset.collection.change import Change
from lib_lora.errors import UserError
from lib_lora.files import turn
from lib_lora.jobs.picture_job import PictureJob
from lib_lora.lora_files import find_lora
from lib_lora.names import check_name
from lib_lora.small_files import Damaged
from lib_lora.tools.made.choice import CHOICE, Choice
from lib_lora.tools.made.drawing import pictures_in
from lib_lora.tools.made.sifting import set_aside
from lib_lora.tools.made.spec import PictureSpec, is_begun, read_spec
from lib_lora.tools.made.taking import plan_take
from lib_lora.workbench.workbench import Workbench


@dataclass(frozen=True)
class Drawn:
    """One picture of a drawing.

    Attributes:
        name: without its ending.
        kept: None: nobody has said.
        aside: why it need not be looked at; empty where it should be.
    """

    name: str
    path: Path
    kept: bool | None
    aside: str


def drawings(workbench: Workbench) -> list[str]:
    """The names of all that were begun, the newest first."""
    folder = workbench.host.paths.places.made
    found = [(_modified(path), path.name) for path in folder.glob("*") if is_begun(path)]
    return [name for _, name in sorted(found, reverse=True)]


@dataclass(frozen=True)
class Drawing:
    """Pictures called ``name`` in a folder of their own.

    Attributes:
        place: the field of :class:`lib_lora.places.Places` that they are in.
        field: what their name is called on the page.

    Raises:
        UserError: when made, if the name cannot be a folder's.
    """

    place: ClassVar[str]
    field: ClassVar[str]
    workbench: Workbench
    name: str

    def __post_init__(self) -> None:
        check_name(self.name, self.field)

    @property
    def folder(self) -> Path:
        """Of the pictures and their captions."""
        places = self.workbench.host.paths.places
        return Path(getattr(places, self.place)) / self.name

    def spec(self) -> tuple[str, PictureSpec] | None:
        """Model and settings of the pictures, once they were begun."""
        return read_spec(self.folder)

    def generate(self, checkpoint: str, spec: PictureSpec, beside: Sequence[Path] = ()) -> int:
        """Queue what is missing; returns the job's id.

        Args:
            beside: as of :class:`PictureJob`.

        Raises:
            UserError: settings that cannot work, or that are not those of the pictures that are there.
        """
        return queue_pictures(self.workbench, self.name, self.folder, checkpoint, spec, beside)


class MadePictures(Drawing):
    """Pictures for a set: drawn, answered, and taken into it."""

    place, field = "made", "Name of the drawing"

    def pictures(self) -> list[Drawn]:
        """Those that are there, in order."""
        kept = self._choice().states()
        aside = set_aside(self.folder)
        found = pictures_in(self.folder)
        return [Drawn(path.stem, path, kept.get(path.stem), aside.get(path.stem, "")) for path in found]

    def answer(self, picture: str, keep: bool) -> None:
        """Keep a picture, or leave it; also one that was answered before, or set aside.

        Raises:
            UserError: it is not there.
        """
        if picture not in {drawn.name for drawn in self.pictures()}:
            raise UserError("There is no such picture", where=picture, fix="Look at the pictures that are shown now")
        with turn(self.folder / CHOICE):
            self._choice().answered(picture, keep).save(self.folder)

    def undo(self) -> None:
        """Take the last answer back; UserError where there is none."""
        self._choice().undone()  # a drawing that is not there gets no folder
        with turn(self.folder / CHOICE):
            self._choice().undone().save(self.folder)

    def plan(self, root: Path, folder: str) -> Change:
        """The dry run that takes the kept pictures into ``folder`` of the set ``root``; see :func:`plan_take`."""
        return plan_take([drawn.path for drawn in self.pictures() if drawn.kept], root, folder)

    def _choice(self) -> Choice:
        """A damaged one counts as none."""
        try:
            return Choice.load(self.folder)
        except Damaged:
            return Choice()


def queue_pictures(
    workbench: Workbench, name: str, folder: Path, checkpoint: str, spec: PictureSpec, beside: Sequence[Path] = ()
) -> int:
    """Queue the pictures that ``folder`` lacks; returns the job's id.

    Raises:
        UserError: settings that cannot work, or that are not those of the pictures that are there.
    """
    spec.check()
    for term in spec.terms():
        find_lora(term.name, workbench.host.paths.lora_folders)
    begun = read_spec(folder)
    if begun is not None and begun != (checkpoint, spec):
        what = f"Pictures with other settings were begun under the name {name}"
        raise UserError(what, where=folder, fix="Choose another name, or take those settings back.")
    queue = workbench.queue
    return queue.submit(PictureJob(queue, name, checkpoint, spec, folder, beside))


def _modified(folder: Path) -> float:
    try:
        return folder.stat().st_mtime
    except OSError:  # it has just gone
        return 0.0
