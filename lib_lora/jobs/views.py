"""What is left of a job, and what is seen of it while it runs: small records that hold no tensor and no model.

The one thing that may be large, a merge that is not saved yet, stays in the newest record of its kind only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from typing_extensions import override

if TYPE_CHECKING:
    from lib_lora.adapters.merged import Merged
    from lib_lora.tools.block_strength import BlockScan
    from lib_lora.tools.influence import Influence
    from lib_lora.tools.merge import Reduction
    from lib_lora.tools.mixture import Mixture

WAITING, RUNNING, PAUSED, DONE, STOPPED, CANCELLED, FAILED = (
    "waiting", "running", "paused", "done", "stopped", "cancelled", "failed",
)  # fmt: skip
ENDED = frozenset((DONE, STOPPED, CANCELLED, FAILED))
CANCELLING = "cancelling"  # what a job is busy with from the click on *Cancel* until it comes up for air

PREPARING, TRAINING, SAMPLING = "preparing", "training", "sampling"  # phases of a training


@dataclass(frozen=True)
class JobView:
    """What a page shows of any job; a copy, safe to keep.

    ``remaining`` is in seconds, None while unknown. ``error`` has what, where and fix as plain strings and, of an
    unexpected one, ``details``: a report that can be passed on.
    """

    id: int
    kind: str
    title: str
    state: str
    done: int
    total: int
    note: str
    elapsed: float
    remaining: float | None
    error: Mapping[str, str] | None
    traceback: str

    @property
    def ended(self) -> bool:
        """Whether nothing more will come of it."""
        return self.state in ENDED

    @property
    def data(self) -> dict[str, Any]:
        """All fields by name, for scripts that read them so."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def plain(self) -> Any:
        """What it made, as plain values for JSON; None where there is nothing to tell."""
        return None

    def slim(self) -> JobView:
        """The record when a newer job of its kind has ended: without what is large."""
        return self


@dataclass(frozen=True)
class PlainView(JobView):
    """Of a job whose result is a plain value: a number, a text, a dict of those."""

    result: Any

    @override
    def plain(self) -> Any:
        return self.result


@dataclass(frozen=True)
class TrainView(JobView):
    """Of a training. ``saved`` is the LoRA file that it wrote last; ``loss`` is None before the first is read."""

    run: str
    phase: str
    epoch: int
    epochs: int
    loss: float | None
    saved: Path | None

    @override
    def plain(self) -> Any:
        return str(self.saved) if self.ended and self.saved else None


@dataclass(frozen=True)
class GridView(JobView):
    """Of a grid. ``cost`` is in seconds per sampled pixel and step, None before the first picture."""

    folder: Path
    cost: float | None
    sheet: Path | None

    @override
    def plain(self) -> Any:
        return str(self.sheet) if self.sheet else None


@dataclass(frozen=True)
class MergeView(JobView):
    """Of a calculated LoRA.

    Attributes:
        name: what it may be called.
        reduction: how small it was to be.
        curve: the share of the energy at every rank.
        merged: the result, which is not saved yet; None before it is there, and once a newer one is.
    """

    name: str
    reduction: Reduction
    curve: tuple[float, ...]
    merged: Merged | None

    @override
    def slim(self) -> MergeView:
        return replace(self, merged=None)


@dataclass(frozen=True)
class CheckpointView(JobView):
    """Of a checkpoint that was written with a formula's changes, and the layers that it has no place for."""

    target: Path
    left_out: tuple[str, ...]

    @override
    def plain(self) -> Any:
        return {"path": str(self.target), "left_out": list(self.left_out)} if self.state == DONE else None


@dataclass(frozen=True)
class PairView(JobView):
    """Of two pictures that are to be compared; ``alone`` is a third, of the first LoRA of a merge without the rest."""

    before: Path | None
    after: Path | None
    alone: Path | None = None

    @override
    def plain(self) -> Any:
        return {"before": str(self.before), "after": str(self.after)} if self.before and self.after else None


@dataclass(frozen=True)
class ScanView(JobView):
    """Of a scan of all blocks: its figures, the file with its table, and block -> picture ("": of the whole LoRA)."""

    file: Path
    scan: BlockScan | None
    table: Path | None
    pictures: Mapping[str, Path]


@dataclass(frozen=True)
class CardView(JobView):
    """Of a test of the card: the rows of its table as text, and what it found in the end."""

    lines: tuple[str, ...]
    found: Mapping[str, Any] | None

    @override
    def plain(self) -> Any:
        return self.found


@dataclass(frozen=True)
class MixtureView(JobView):
    """Of a search for the best mixture of the epochs of ``run``; the run keeps it too."""

    run: str
    mixture: Mixture | None

    @override
    def plain(self) -> Any:
        return self.mixture and self.mixture.plain()


@dataclass(frozen=True)
class InfluenceView(JobView):
    """Of the training pictures of ``run``, the most influential first, and thumbnails of the first of them."""

    run: str
    folder: Path
    found: tuple[Influence, ...]
    thumbnails: tuple[Path, ...]

    def name_of(self, one: Influence) -> str:
        """Its picture below the run's folder, as the setting that leaves pictures out has it."""
        return one.picture.relative_to(self.folder).as_posix()

    @override
    def plain(self) -> Any:
        return [{"picture": self.name_of(one), "score": one.score} for one in self.found]


@dataclass(frozen=True)
class FolderView(JobView):
    """Of pictures that are made in ``folder``."""

    folder: Path

    @override
    def plain(self) -> Any:
        return str(self.folder) if self.state == DONE else None
