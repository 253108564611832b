"""The *Blocks* tab's work as jobs: a pair of pictures, and the scan of all blocks."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lib_lora.jobs.job import Progress
from lib_lora.jobs.queue import JobQueue
from lib_lora.jobs.tool_jobs import ToolJob, save_preview
from lib_lora.models.base import GenerationRequest, Host
from lib_lora.tools.block_scan import ScanStep, scan
from lib_lora.tools.block_strength import BlockScan
from lib_lora.tools.blocks import preview

SCANS = "block-scans"  # in the data folder


class BlocksPreviewJob(ToolJob):
    """Two pictures that differ by the block weights alone; the result has the paths ``before`` and ``after``.

    Args:
        against: the weights of the first picture; None is the LoRA as it is.
        scale: of the LoRA as a whole.
    """

    kind = "blocks preview"

    def __init__(
        self,
        queue: JobQueue,
        file: Path,
        weights: Mapping[str, float],
        request: GenerationRequest,
        scale: float,
        against: Mapping[str, float] | None = None,
    ):
        super().__init__(queue, f"Preview of {file.stem}")
        self.inputs = (file, weights, request, scale)
        self.against = against

    def work(self, host: Host) -> Iterator[Progress]:
        yield Progress(0, 2, "drawing both")
        found = preview(host, *self.inputs, cancelled=self.cancelled, against=self.against)
        pictures = {"before": found.before, "after": found.after}
        paths = {name: save_preview(host, f"blocks-{name}", image) for name, image in pictures.items()}
        yield Progress(2, 2)
        return paths

    def data(self) -> dict[str, Any]:
        return {"against": self.against is not None}


class BlockScanJob(ToolJob):
    """Scans the blocks of a LoRA; the result has ``scan`` and the paths ``csv`` and ``map``."""

    kind = "block scan"

    def __init__(self, queue: JobQueue, file: Path, request: GenerationRequest, seeds: Sequence[int], scale: float):
        super().__init__(queue, f"Blocks of {file.stem}")
        self.inputs = (file, request, seeds, scale)

    def work(self, host: Host) -> Iterator[Progress]:
        yield Progress(0, 0, "the whole LoRA")
        found = yield from _reported(scan(host, *self.inputs, cancelled=self.cancelled))
        table, map_ = found.save(host.paths.data / SCANS)
        return {"scan": found, "csv": table, "map": map_}

    def data(self) -> dict[str, Any]:
        return {"file": str(self.inputs[0])}


def _reported(steps: Generator[ScanStep, None, BlockScan]) -> Generator[Progress, None, BlockScan]:
    """The same generator, with its steps as progress."""
    while True:
        try:
            step = next(steps)
        except StopIteration as end:
            return end.value
        yield Progress(step.done, step.total, step.note)
