"""What is asked of a run afterwards: the best mixture of its epochs, and which training pictures did something."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from typing_extensions import override

from lib_lora.jobs.job import Progress
from lib_lora.jobs.queue import JobQueue
from lib_lora.jobs.tool_jobs import ToolJob, save_preview
from lib_lora.jobs.train_job import load_model_of
from lib_lora.jobs.views import InfluenceView, MixtureView
from lib_lora.models.base import Host
from lib_lora.tools.card_files import thumbnail
from lib_lora.tools.influence import Influence, Shown, influences
from lib_lora.tools.mixture import Mixture, best_mixture
from lib_lora.training.events import Event, Preparing
from lib_lora.training.revisit import Revisit, pictures_in, revisit
from lib_lora.training.run import Run

R = TypeVar("R")
THUMBNAILS, SIDE = 12, 256  # of the first pictures; pixels


class RevisitJob(ToolJob):
    """Puts saved epochs of a run on its model, and measures.

    Args:
        files: epoch -> LoRA file.
    """

    def __init__(self, queue: JobQueue, title: str, run: Run, files: Mapping[int, Path]):
        super().__init__(queue, title)
        self.run, self.files = run, files
        self._again: Revisit | None = None  # while it is on the model

    @abstractmethod
    def measure(self, again: Revisit) -> Generator[Progress, None, Any]:
        """What is asked."""

    @override
    def work(self, host: Host) -> Generator[Progress, None, Any]:
        load_model_of(self.run.config(), host)
        with host.training_session() as model:
            again = yield from _prepared(revisit(self.run, self.files, model, host.paths))
            yield from self.prepare(again)
            with again.attached(), self._present(again):
                return (yield from self.measure(again))

    def prepare(self, _again: Revisit) -> Generator[Progress, None, None]:
        """What has to be read before the epochs are on the model."""
        yield from ()

    @override
    def step_aside(self) -> None:
        if self._again is not None:
            self._again.switch(False)

    @override
    def step_back(self) -> None:
        if self._again is not None:
            self._again.switch(True)

    @contextmanager
    def _present(self, again: Revisit) -> Iterator[None]:
        self._again = again
        try:
            yield
        finally:
            self._again = None


class MixtureJob(RevisitJob):
    """Finds the best mixture, and keeps it with the run.

    Args:
        pictures: a folder of held-out pictures with captions, for a run that held none out; empty: its own.
    """

    kind = "mixture"

    def __init__(self, queue: JobQueue, run: Run, files: Mapping[int, Path], pictures: str = ""):
        super().__init__(queue, f"Best mixture of {run.config().name}", run, files)
        self.pictures = pictures
        self.held_out: Any = None

    @override
    def prepare(self, again: Revisit) -> Generator[Progress, None, None]:
        self.held_out = again.data.held_out
        if self.pictures:
            self.held_out = yield from _prepared(pictures_in(self.pictures, again))

    @override
    def measure(self, again: Revisit) -> Generator[Progress, None, Mixture]:
        try:
            found = yield from _counted(best_mixture(again, self.held_out))
        finally:
            self.held_out = None
        self.run.set_mixture(found.plain())
        return found

    @override
    def view(self) -> MixtureView:
        return MixtureView(**self.common(), run=self.run.id, mixture=self.result)


class InfluenceJob(RevisitJob):
    """Ranks the training pictures by their influence on what is wrong in some pictures.

    Args:
        about: what is shown, for the title.
        wrong, right: generated pictures with their prompts.
    """

    kind = "influence"

    def __init__(
        self, queue: JobQueue, run: Run, files: Mapping[int, Path], about: str, wrong: Sequence[Shown],
        right: Sequence[Shown],
    ):  # fmt: skip
        super().__init__(queue, f"Training pictures behind {about}", run, files)
        self.wrong, self.right, self.folder = wrong, right, Path(run.config().data_dir)
        self.thumbnails: list[Path] = []

    @override
    def work(self, host: Host) -> Generator[Progress, None, list[Influence]]:
        found: list[Influence] = yield from super().work(host)
        for number, one in enumerate(found[:THUMBNAILS]):
            image = thumbnail(one.picture, SIDE)
            if image is None:
                break  # gone by now; those before it are shown
            self.thumbnails.append(save_preview(host, f"influence-{self.run.id}-{number}", image))
        return found

    @override
    def measure(self, again: Revisit) -> Generator[Progress, None, list[Influence]]:
        return (yield from _counted(influences(again, self.wrong, self.right)))

    @override
    def view(self) -> InfluenceView:
        found, thumbnails = tuple(self.result or ()), tuple(self.thumbnails)
        return InfluenceView(**self.common(), run=self.run.id, folder=self.folder, found=found, thumbnails=thumbnails)


def _prepared(events: Generator[Event, None, R]) -> Generator[Progress, None, R]:
    """The same work, with how far it is as progress."""
    while True:
        try:
            event = next(events)
        except StopIteration as end:
            result: R = end.value
            return result
        if isinstance(event, Preparing):
            yield Progress(event.done, event.total, event.what)


def _counted(steps: Generator[Any, None, R]) -> Generator[Progress, None, R]:
    while True:
        try:
            step = next(steps)
        except StopIteration as end:
            result: R = end.value
            return result
        yield Progress(step.done, step.total, step.note)
