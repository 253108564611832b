"""A job that draws pictures to be trained on."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from pathlib import Path

from typing_extensions import override

from lib_lora.jobs.job import Progress
from lib_lora.jobs.queue import JobQueue
from lib_lora.jobs.tool_jobs import ToolJob
from lib_lora.jobs.views import FolderView
from lib_lora.models.base import Host
from lib_lora.tools.made.drawing import generate_dataset
from lib_lora.tools.made.sifting import sift
from lib_lora.tools.made.spec import PictureSpec


class PictureJob(ToolJob):
    """Draws the pictures that ``folder`` lacks, with ``checkpoint``, and says which need not be looked at.

    Args:
        beside: folders of the set that they are for; what is in there already is set aside.
    """

    kind = "pictures"

    def __init__(
        self, queue: JobQueue, name: str, checkpoint: str, spec: PictureSpec, folder: Path, beside: Sequence[Path] = ()
    ):
        super().__init__(queue, f"Pictures for {name}")
        self.checkpoint, self.spec, self.folder, self.beside = checkpoint, spec, folder, tuple(beside)

    @override
    def work(self, host: Host) -> Generator[Progress, None, None]:
        yield Progress(0, self.spec.count, "getting ready")
        info = host.info()
        if info is None or info.name != self.checkpoint:
            host.load(self.checkpoint)
        for made in generate_dataset(host, self.spec, self.folder, self.cancelled):
            yield Progress(made.done, made.total, "pictures")
        for done, total in sift(self.folder, host.paths.places.dataset, self.beside):
            yield Progress(done, total, "looking for failures and copies")

    @override
    def view(self) -> FolderView:
        return FolderView(**self.common(), folder=self.folder)
