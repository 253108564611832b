"""Work of the tools as jobs: with progress, and to be cancelled between two sampling steps."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from lib_lora.jobs.job import Job, Progress
from lib_lora.jobs.queue import JobQueue
from lib_lora.models.base import GenerationRequest, Host
from lib_lora.tools.blocks import preview
from lib_lora.tools.pictures import save_png


class ToolJob(Job):
    """A job that hears at once when it is cancelled."""

    def __init__(self, queue: JobQueue, title: str):
        super().__init__(title)
        self.queue = queue

    def cancelled(self) -> bool:
        return self.queue.is_cancelled(self.id)


class BlocksPreviewJob(ToolJob):
    """One picture with the LoRA as it is, one with block weights; the result has the paths ``before`` and ``after``."""

    kind = "blocks preview"

    def __init__(
        self, queue: JobQueue, file: Path, weights: dict[str, float], request: GenerationRequest, scale: float
    ):
        super().__init__(queue, f"Preview of {file.stem}")
        self.inputs = (file, weights, request, scale)

    def work(self, host: Host) -> Iterator[Progress]:
        yield Progress(0, 2, "drawing both")
        found = preview(host, *self.inputs, cancelled=self.cancelled)
        pictures = {"before": found.before, "after": found.after}
        paths = {name: save_preview(host, f"blocks-{name}", image) for name, image in pictures.items()}
        yield Progress(2, 2)
        return paths


def save_preview(host: Host, name: str, image: Image.Image) -> Path:
    """Where the page finds a preview; the next one of this name replaces it."""
    return save_png(image, host.paths.data / "previews" / f"{name}.png")
