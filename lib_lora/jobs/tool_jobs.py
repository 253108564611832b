"""Work of the tools as jobs: with progress, and to be cancelled between two sampling steps."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from lib_lora.jobs.job import Job
from lib_lora.jobs.queue import JobQueue
from lib_lora.models.base import Host
from lib_lora.tools.pictures import save_png


class ToolJob(Job):
    """A job that hears at once when it is cancelled."""

    def __init__(self, queue: JobQueue, title: str):
        super().__init__(title)
        self.queue = queue

    def cancelled(self) -> bool:
        """Whether somebody asked it to end; for what it calls."""
        return self.cancel_requested


def save_preview(host: Host, name: str, image: Image.Image) -> Path:
    """Where the page finds a preview; the next one of this name replaces it."""
    return save_png(image, host.paths.places.previews / f"{name}.png")
