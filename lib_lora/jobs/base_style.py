"""A job that draws the pictures of a base style."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

from lib_lora.jobs.job import Progress
from lib_lora.jobs.queue import JobQueue
from lib_lora.jobs.tool_jobs import ToolJob
from lib_lora.jobs.views import FolderView
from lib_lora.models.base import Host
from lib_lora.tools.base_style import BaseStyleSpec, generate_dataset


class BaseStyleJob(ToolJob):
    """Generates the pictures that ``folder`` lacks, with ``checkpoint``."""

    kind = "base style"

    def __init__(self, queue: JobQueue, name: str, checkpoint: str, spec: BaseStyleSpec, folder: Path):
        super().__init__(queue, f"Pictures for {name}")
        self.checkpoint, self.spec, self.folder = checkpoint, spec, folder

    def work(self, host: Host) -> Generator[Progress, None, None]:
        yield Progress(0, self.spec.count, "getting ready")
        info = host.info()
        if info is None or info.name != self.checkpoint:
            host.load(self.checkpoint)
        for made in generate_dataset(host, self.spec, self.folder, self.cancelled):
            yield Progress(made.done, made.total, "pictures")

    def view(self) -> FolderView:
        return FolderView(**self.common(), folder=self.folder)
