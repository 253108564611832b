"""Grids, previews and merges as jobs: with progress, and to be cancelled between two sampling steps."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from lib_lora.adapters.file import read_lora
from lib_lora.adapters.merge import Merged, combine
from lib_lora.errors import Cancelled, UserError
from lib_lora.files import atomic_write
from lib_lora.jobs.job import Job, Progress
from lib_lora.jobs.queue import JobQueue
from lib_lora.models.base import GenerationRequest, Host
from lib_lora.tools.blocks import preview
from lib_lora.tools.grid import GridSpec, make_grid
from lib_lora.tools.lora_files import load_network
from lib_lora.tools.merge import merge
from lib_lora.tools.pictures import save_png


class ToolJob(Job):
    """A job that hears at once when it is cancelled."""

    def __init__(self, queue: JobQueue, title: str):
        super().__init__(title)
        self.queue = queue

    def cancelled(self) -> bool:
        return self.queue.is_cancelled(self.id)


class GridJob(ToolJob):
    """Makes the grid of ``spec`` in ``folder``; the result is the path of the sheet."""

    kind = "grid"

    def __init__(self, queue: JobQueue, title: str, spec: GridSpec, folder: Path):
        super().__init__(queue, title)
        self.spec = spec
        self.folder = folder
        self.made = 0

    def work(self, host: Host) -> Iterator[Progress]:
        cells = make_grid(host, self.spec, self.folder, self.cancelled)
        total = len(self.spec.cells())
        yield Progress(0, total, "reading the LoRA")
        sheet: list[Path] = []
        for done in _collecting(cells, sheet):
            self.made += not done.kept
            yield Progress(done.done, total, f"{done.cell.file.label} at {done.cell.weight:g}")
        return str(sheet[0])

    def data(self) -> dict[str, Any]:
        return {"folder": str(self.folder), "cost": self.cost()}

    def cost(self) -> float | None:
        """Seconds per sampled pixel and step, once something was made."""
        size = self.spec.settings
        work = self.made * size.width * size.height * size.steps
        return self.clock.seconds / work if work else None


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
        paths = {name: _save(host, f"blocks-{name}", image) for name, image in pictures.items()}
        yield Progress(2, 2)
        return paths


class MergeJob(ToolJob):
    """Merges by formula; the result is the unsaved :class:`Merged`."""

    kind = "merge"

    def __init__(self, queue: JobQueue, formula: str, rank: int | None, presets: Path):
        super().__init__(queue, formula)
        self.formula, self.rank, self.presets = formula, rank, presets

    def work(self, host: Host) -> Iterator[Progress]:
        yield Progress(0, 0, "reading the files")
        self.result = merge(
            self.formula, host.paths.loras, presets=self.presets, rank=self.rank, progress=self._layer_done
        )
        yield Progress(self.done, self.total)

    def data(self) -> dict[str, Any]:
        return {"rank": self.rank}

    def _layer_done(self, done: int, total: int) -> None:
        if self.cancelled():
            raise Cancelled
        self.advance(done, total, "layers")


class MergePreviewJob(ToolJob):
    """The checkpoint alone, and with a merge that is not saved yet; the result is as of the other preview."""

    kind = "merge preview"

    def __init__(self, queue: JobQueue, merged: Merged, request: GenerationRequest):
        super().__init__(queue, "Preview of the merge")
        self.merged, self.request = merged, request

    def work(self, host: Host) -> Iterator[Progress]:
        yield Progress(0, 2, "drawing both")
        network = load_network(self.merged.file())
        requests = [replace(self.request, weights=(weight,)) for weight in (0.0, 1.0)]
        images = host.generate(requests, networks=(network,), cancelled=self.cancelled)
        names = ("before", "after")
        paths = {name: _save(host, f"merge-{name}", image) for name, image in zip(names, images, strict=True)}
        yield Progress(2, 2)
        return paths


def keep_epoch(file: Path, weight: float, target: Path) -> Path:
    """Write ``file`` at ``weight`` as a LoRA of its own; at weight 1 it is the same file under another name.

    Raises:
        UserError: ``target`` exists, or ``file`` is damaged.
    """
    if target.exists():
        raise UserError("There is a LoRA of this name already", where=target, fix="Choose another name")
    if weight != 1:
        return combine([(read_lora(file), weight, None)]).save(target)
    with atomic_write(target) as part:
        shutil.copyfile(file, part)
    return target


def _save(host: Host, name: str, image: Any) -> Path:
    return save_png(image, host.paths.data / "previews" / f"{name}.png")


def _collecting(generator: Any, result: list[Any]) -> Iterator[Any]:
    """Iterate a generator, and put what it returns into ``result``."""
    result.append((yield from generator))
