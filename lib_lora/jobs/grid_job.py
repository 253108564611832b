"""The epoch grid as a job, with the hints that follow from its pictures."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from pathlib import Path

from typing_extensions import override

from lib_lora.errors import UserError
from lib_lora.jobs.job import Progress
from lib_lora.jobs.queue import JobQueue
from lib_lora.jobs.tool_jobs import ToolJob
from lib_lora.jobs.views import GridView
from lib_lora.models.base import Host
from lib_lora.tools.grid import SHEET, make_grid
from lib_lora.tools.grid_spec import GridSpec
from lib_lora.tools.likeness import Likeness, write_likeness
from lib_lora.training.config import TrainConfig
from lib_lora.training.data import usable_scan


class GridJob(ToolJob):
    """Makes the grid of ``spec`` in ``folder``; the result is the path of the sheet.

    Args:
        training: gives the pictures that the LoRAs were trained on, to be compared with; None where they are unknown.
    """

    kind = "grid"

    def __init__(
        self, queue: JobQueue, title: str, spec: GridSpec, folder: Path,
        training: Callable[[], Sequence[Path]] | None = None,
    ):  # fmt: skip
        super().__init__(queue, title)
        self.spec = spec
        self.folder = folder
        self.training = training
        self.made = 0

    @override
    def work(self, host: Host) -> Generator[Progress, None, Path]:
        total = len(self.spec.cells())
        yield Progress(0, total, "reading the LoRA")
        likeness = self._likeness()
        found: dict[str, list[float]] = {}
        for done in make_grid(host, self.spec, self.folder, self.cancelled):
            self.made += not done.kept
            if likeness is not None and done.cell.weight:
                found.setdefault(done.cell.file.label, []).append(likeness.of(done.image))
            yield Progress(done.done, total, f"{done.cell.file.label} at {done.cell.weight:g}")
        write_likeness(self.folder, found, likeness)
        return self.folder / SHEET

    @override
    def view(self) -> GridView:
        return GridView(**self.common(), folder=self.folder, cost=self.cost(), sheet=self.result)

    def cost(self) -> float | None:
        """Seconds per sampled pixel and step, once something was made."""
        size = self.spec.settings
        work = self.made * size.width * size.height * size.steps
        return self.clock.seconds / work if work else None

    def _likeness(self) -> Likeness | None:
        """None where the training pictures are unknown or gone: the grid does without the hints."""
        try:
            return Likeness.to_files(self.training()) if self.training else None
        except UserError:
            return None


def training_pictures(config: TrainConfig) -> list[Path]:
    """The pictures that a run was trained on.

    Raises:
        UserError: they are not there any more.
    """
    return [item.path for item in usable_scan(config).items]
