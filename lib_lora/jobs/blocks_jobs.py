"""The *Blocks* tab's work as jobs: pictures by block weights, and the scan of all blocks."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from pathlib import Path

from typing_extensions import override

from lib_lora.jobs.job import Progress
from lib_lora.jobs.queue import JobQueue
from lib_lora.jobs.tool_jobs import ToolJob
from lib_lora.jobs.views import ScanView
from lib_lora.models.base import GenerationRequest, Host
from lib_lora.tools.block_scan import ScanStep, scan
from lib_lora.tools.block_strength import BlockScan
from lib_lora.tools.blocks import pictures
from lib_lora.tools.pictures import save_png

KEPT = 400  # pictures of states


class BlocksPictureJob(ToolJob):
    """A picture for each of several block weights, written to where the page looks for it.

    Args:
        wanted: block weights, and the picture's path.
        scale: of the LoRA as a whole.
    """

    kind = "blocks picture"

    def __init__(
        self,
        queue: JobQueue,
        file: Path,
        wanted: Sequence[tuple[Mapping[str, float], Path]],
        request: GenerationRequest,
        scale: float,
    ):
        super().__init__(queue, f"Preview of {file.stem}")
        self.file, self.wanted, self.request, self.scale = file, wanted, request, scale

    @override
    def work(self, host: Host) -> Generator[Progress, None, None]:
        yield Progress(0, 1, f"{self.request.steps} steps")
        weightings = [weights for weights, _ in self.wanted]
        images = pictures(host, self.file, weightings, self.request, self.scale, self.cancelled)
        for image, (_, path) in zip(images, self.wanted, strict=True):
            save_png(image, path)
        _keep_newest(self.wanted[0][1].parent)
        yield Progress(1, 1)


class BlockScanJob(ToolJob):
    """Scans the blocks of a LoRA; the result has its figures, and the paths of table and pictures."""

    kind = "block scan"

    def __init__(self, queue: JobQueue, file: Path, request: GenerationRequest, seeds: Sequence[int], scale: float):
        super().__init__(queue, f"Blocks of {file.stem}")
        self.inputs = (file, request, seeds, scale)

    @override
    def work(self, host: Host) -> Generator[Progress, None, tuple[BlockScan, Path, dict[str, Path]]]:
        yield Progress(0, 0, "the whole LoRA")
        folder = host.paths.places.scans
        images = folder / f"{self.inputs[0].stem}-pictures"
        found = yield from _reported(scan(host, *self.inputs, cancelled=self.cancelled), images)
        table, _ = found.save(folder)
        drawn = {
            name: path for name in ("", *(row.block for row in found.rows)) if (path := _of(images, name)).exists()
        }
        return found, table, drawn

    @override
    def view(self) -> ScanView:
        scan, table, pictures = self.result or (None, None, {})
        return ScanView(**self.common(), file=self.inputs[0], scan=scan, table=table, pictures=pictures)


def _reported(steps: Generator[ScanStep, None, BlockScan], folder: Path) -> Generator[Progress, None, BlockScan]:
    """The same generator, with its steps as progress and its pictures in ``folder``."""
    while True:
        try:
            step = next(steps)
        except StopIteration as end:
            found: BlockScan = end.value
            return found
        if step.picture is not None:
            save_png(step.picture, _of(folder, step.without))
        yield Progress(step.done, step.total, step.note)


def _of(folder: Path, block: str) -> Path:
    """The picture without ``block``; of the whole LoRA where there is none."""
    return folder / f"{block or 'whole'}.png"


def _keep_newest(folder: Path) -> None:
    """Throw away all pictures but the newest :data:`KEPT`."""
    old = sorted(folder.glob("*.png"), key=lambda path: path.stat().st_mtime)[:-KEPT]
    for path in old:
        path.unlink(missing_ok=True)
