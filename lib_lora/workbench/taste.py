"""Tuning a LoRA by taste: the session on disk, one answer after the other, and pictures asked of the queue."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from pathlib import Path

from lib_lora.adapters.block_presets import load_presets
from lib_lora.adapters.file import open_lora
from lib_lora.errors import UserError
from lib_lora.files import turn
from lib_lora.jobs.taste_jobs import TasteJob, Wanted
from lib_lora.lora_files import find_lora
from lib_lora.tools.pictures import fingerprint
from lib_lora.tools.taste.drawing import Painter
from lib_lora.tools.taste.proposals import Point
from lib_lora.tools.taste.recipe import Recipe
from lib_lora.tools.taste.session import TasteSession
from lib_lora.tools.taste.space import Tuned
from lib_lora.workbench.workbench import Workbench

SESSION = "session.json"


@dataclass(frozen=True)
class TasteTuning:
    """The tuning of the LoRA called ``name``; each LoRA has one, which goes on until it is started anew."""

    workbench: Workbench
    name: str

    @property
    def folder(self) -> Path:
        """Of its session and pictures."""
        key = sha256(self.name.encode()).hexdigest()[:8]  # two names that a file system takes for one
        safe = "".join(c if c.isalnum() or c in "-_" else "_" for c in self.name)[:60]
        return self.workbench.host.paths.places.taste / f"{safe}-{key}"

    @property
    def path(self) -> Path:
        """Of the session."""
        return self.folder / SESSION

    def session(self) -> TasteSession | None:
        """As it stands on disk; None before the first start.

        Raises:
            Damaged: the file cannot be read.
        """
        try:
            stat = self.path.stat()
        except OSError:
            return TasteSession.load(self.path)
        return _loaded(self.path, stat.st_ino, stat.st_mtime_ns, stat.st_size)

    # -- what the user does -------------------------------------------------------------------------------------------

    def start(self, recipe: Recipe) -> TasteSession:
        """Begin; an earlier session stays beside the new one under another name.

        Raises:
            UserError: LoRAs or block weights that cannot be used.
        """
        tuned = self.tuned(recipe)
        with turn(self.path):
            TasteSession.keep_earlier(self.path)
            session = self._keep(TasteSession(recipe, len(tuned.dimensions())))
        return self._drawing(session)

    def answer(self, number: int, better: int) -> TasteSession:
        """Answer question ``number``, from 0.

        Args:
            better: FIRST, SECOND or EQUAL.

        Raises:
            UserError: another question is asked by now.
        """

        def answered(session: TasteSession) -> TasteSession:
            if number != session.answered:
                what = "This question was answered already" if number < session.answered else "This is not asked yet"
                raise UserError(what, where=f"question {number + 1}", fix="Look at the pictures that are shown now")
            return session.answer(better)

        return self._change(answered)

    def undo(self) -> TasteSession:
        """Take the last answer back; UserError where there is none."""
        return self._change(TasteSession.undo)

    def go_on(self) -> TasteSession:
        """Draw what is missing, as after a restart."""
        return self._change(lambda session: session)

    # -- pictures -----------------------------------------------------------------------------------------------------

    def pictures(self, session: TasteSession, number: int) -> tuple[list[Wanted], list[Wanted]]:
        """Those of the first and of the second settings of a question.

        Raises:
            UserError: no model is loaded, or a LoRA is gone.
        """
        question = session.questions[number]
        recipe = session.recipe
        files = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in self.files(recipe).values()]
        made_of = (recipe.lora, recipe.weight, recipe.blocks, recipe.base, recipe.base_blocks, recipe.locked,
                   recipe.whole, files)  # fmt: skip

        def side(point: Point) -> list[Wanted]:
            found = []
            for request in recipe.requests(number):
                name = fingerprint(self.workbench.host, made_of, point, request)
                found.append(Wanted(number, point, request, self.folder / "pictures" / f"{name}.png"))
            return found

        return side(question.first), side(question.second)

    def missing(self) -> tuple[Recipe, list[Wanted]]:
        """Pictures of open questions that are not drawn yet, the current question's first; reads the session anew."""
        session = self._session()
        turns = range(session.answered, len(session.questions))
        wanted = [one for turn in turns for side in self.pictures(session, turn) for one in side]
        return session.recipe, [one for one in wanted if not one.path.exists()]

    def painter(self, recipe: Recipe) -> Painter:
        """What draws a recipe's pictures; UserError where a LoRA is gone or damaged."""
        return Painter(self.tuned(recipe), self.files(recipe))

    # -- LoRAs --------------------------------------------------------------------------------------------------------

    def files(self, recipe: Recipe) -> dict[str, Path]:
        """Name -> file of the LoRAs that draw; UserError where one is gone."""
        folders = self.workbench.host.paths.lora_folders
        return {name: find_lora(name, folders) for name in (recipe.lora, recipe.base) if name}

    def tuned(self, recipe: Recipe) -> Tuned:
        """What is tuned; see :meth:`Recipe.tuned`."""
        files = self.files(recipe)
        presets = self.workbench.host.paths.places.block_presets
        read = [*files.values(), *([presets] if presets.exists() else [])]
        return _tuned(recipe, tuple(files.items()), presets, tuple(path.stat().st_mtime_ns for path in read))

    # -- small parts --------------------------------------------------------------------------------------------------

    def _change(self, change: Callable[[TasteSession], TasteSession]) -> TasteSession:
        """Read the session, change it and write it, while nobody else does."""
        self._session()  # what was never started gets no folder
        with turn(self.path):
            session = self._keep(change(self._session()))
        return self._drawing(session)

    def _session(self) -> TasteSession:
        """As it is on disk this moment."""
        session = TasteSession.load(self.path)
        if session is None:
            raise UserError("Nothing is tuned yet", where=self.name, fix="Start first")
        return session

    def _keep(self, session: TasteSession) -> TasteSession:
        session = session.asked_ahead()
        session.save(self.path)
        return session

    def _drawing(self, session: TasteSession) -> TasteSession:
        """The session, whose missing pictures are asked of the queue."""
        queue = self.workbench.queue
        queue.submit(TasteJob(queue, self.name, self.missing, self.painter))
        return session


# A page asks once a second; what is computed for it is kept.


@lru_cache(maxsize=16)
def _loaded(path: Path, _file: int, _changed: int, _size: int) -> TasteSession | None:
    """The session in a file that changed then."""
    return TasteSession.load(path)


@lru_cache(maxsize=16)
def _tuned(recipe: Recipe, files: tuple[tuple[str, Path], ...], presets: Path, _changed: tuple[int, ...]) -> Tuned:
    """What a recipe means for files, and a file of presets, that changed then."""
    opened = {name: open_lora(path) for name, path in files}
    return recipe.tuned(opened[recipe.lora], opened.get(recipe.base), load_presets(presets))
