"""Merging, resizing and extracting as jobs; each ends with an unsaved :class:`Merged`, which a preview can draw."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from typing_extensions import override

from lib_lora.adapters.base_weights import CheckpointWeights, LayerWeights
from lib_lora.adapters.extract import Extraction, extract
from lib_lora.adapters.merged import Merged
from lib_lora.errors import Cancelled
from lib_lora.jobs.job import Progress
from lib_lora.jobs.queue import JobQueue
from lib_lora.jobs.tool_jobs import ToolJob, save_preview
from lib_lora.jobs.views import CheckpointView, JobView, MergeView, PairView
from lib_lora.lora_files import load_network
from lib_lora.models.base import GenerationRequest, Host
from lib_lora.tools.convert import merge_for
from lib_lora.tools.merge import Reduction, energy_curve, merge_to_checkpoint

LOADED_MODEL = ""  # as name of the checkpoint whose weights are the base


class LayerJob(ToolJob):
    """Work through layers or tensors one by one, to be cancelled between two of them."""

    def layer_done(self, done: int, total: int) -> None:
        """For the ``progress`` of merges."""
        if self.cancelled():
            raise Cancelled
        self.advance(done, total, "layers")


class MergedJob(LayerJob):
    """Makes a :class:`Merged`, which is the result; ``name`` is what it may be called."""

    kind = "merge"

    def __init__(self, queue: JobQueue, title: str, reduction: Reduction, name: str):
        super().__init__(queue, title)
        self.reduction, self.name = reduction, name
        self.curve: list[float] = []

    @abstractmethod
    def make(self, host: Host) -> Merged:
        """The whole work."""

    @override
    def work(self, host: Host) -> Generator[Progress, None, Merged]:
        yield Progress(0, 0, "reading the files")
        merged = self.make(host)
        yield Progress(self.done, self.total, "what half precision loses")
        merged.report.warnings += merged.rounding_warnings(torch.float16)
        yield Progress(self.done, self.total, "its spectrum")
        self.curve = energy_curve(merged)
        return merged

    @override
    def view(self) -> JobView:
        return MergeView(
            **self.common(), name=self.name, reduction=self.reduction, curve=tuple(self.curve), merged=self.result
        )


class MergeJob(MergedJob):
    """Merges by formula; ``base`` names the checkpoint that DoRA and its like act on.

    ``program``: one of :data:`~lib_lora.tools.convert.PROGRAMS` that the result is for, or an empty text.
    """

    def __init__(
        self, queue: JobQueue, formula: str, reduction: Reduction, presets: Path, base: str = LOADED_MODEL,
        name: str = "merged", program: str = "",
    ):  # fmt: skip
        super().__init__(queue, formula, reduction, name)
        self.formula, self.presets, self.base, self.program = formula, presets, base, program

    @override
    def make(self, host: Host) -> Merged:
        with ExitStack() as borrowed:
            return merge_for(
                self.program,
                self.formula,
                host.paths.lora_folders,
                self.reduction,
                presets=self.presets,
                base=partial(base_weights, host, self.base, borrowed),
                progress=self.layer_done,
            )


class ExtractJob(MergedJob):
    """A LoRA from the difference of two of the host's checkpoints."""

    def __init__(self, queue: JobQueue, tuned: str, original: str, options: Extraction):
        reduction = Reduction(options.rank, options.energy)
        super().__init__(queue, f"{tuned} - {original}", reduction, f"{Path(tuned).stem}-extracted")
        self.tuned, self.original, self.options = tuned, original, options

    @override
    def make(self, host: Host) -> Merged:
        tuned, original = (host.checkpoint_path(name) for name in (self.tuned, self.original))
        return extract(tuned, original, self.options, progress=self.layer_done)


class CheckpointJob(LayerJob):
    """Writes ``target``, a checkpoint with a formula's changes; the result names what was left out."""

    kind = "checkpoint merge"

    def __init__(self, queue: JobQueue, formula: str, checkpoint: str, target: Path, presets: Path):
        super().__init__(queue, f"{formula} into {checkpoint}")
        self.formula, self.checkpoint, self.target, self.presets = formula, checkpoint, target, presets

    @override
    def work(self, host: Host) -> Generator[Progress, None, Sequence[str]]:
        yield Progress(0, 0, "reading the files")
        source = host.checkpoint_path(self.checkpoint)
        left_out = merge_to_checkpoint(
            self.formula, host.paths.lora_folders, source, self.target, presets=self.presets, progress=self.layer_done
        )
        yield Progress(self.done, self.total)
        return left_out

    @override
    def view(self) -> CheckpointView:
        return CheckpointView(**self.common(), target=self.target, left_out=tuple(self.result or ()))


class MergePreviewJob(ToolJob):
    """The checkpoint alone and with a merge that is not saved yet: the pictures ``before`` and ``after``.

    Args:
        merged: or the job that makes it, which is in the queue before this one.
        alone: a LoRA file that is drawn too, by itself: the merge's first.
    """

    kind = "merge preview"

    def __init__(
        self, queue: JobQueue, merged: Merged | MergedJob, request: GenerationRequest, alone: Path | None = None
    ):
        super().__init__(queue, "Preview of the merge")
        self.merged, self.request, self.alone = merged, request, alone

    @override
    def work(self, host: Host) -> Generator[Progress, None, Mapping[str, Path]]:
        merged = self.merged.result if isinstance(self.merged, MergedJob) else self.merged
        if merged is None:
            raise Cancelled  # the merge failed, and said why
        names = ("before", "after", *(["alone"] if self.alone else []))
        yield Progress(0, len(names), "drawing")
        networks = [load_network(file) for file in (merged.file(), self.alone) if file is not None]
        on = [tuple(float(network == shown) for network in range(len(networks))) for shown in (-1, 0, 1)]
        requests = [replace(self.request, weights=weights) for weights in on[: len(names)]]
        images = host.generate(requests, networks=networks, cancelled=self.cancelled)
        paths = {name: save_preview(host, f"merge-{name}", image) for name, image in zip(names, images, strict=True)}
        yield Progress(len(names), len(names))
        return paths

    @override
    def view(self) -> PairView:
        return PairView(**self.common(), **(self.result or {"before": None, "after": None}))


def base_weights(host: Host, name: str, borrowed: ExitStack) -> Mapping[str, Tensor]:
    """The weights of a checkpoint, or of the loaded model, which is borrowed until ``borrowed`` is closed."""
    if name != LOADED_MODEL:
        return CheckpointWeights(host.checkpoint_path(name))
    model = borrowed.enter_context(host.training_session())
    info = host.info()
    return LayerWeights(model.layers(), info.name if info else "the loaded model")
