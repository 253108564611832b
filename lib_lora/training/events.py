"""What a run reports while it works; every event is a small immutable record that turns into JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from typing_extensions import override

from lib_lora.errors import UserError


@dataclass(frozen=True)
class Event:
    """Base of all events."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for the page and the API."""
        return {key: str(v) if isinstance(v, (Path, Exception)) else v for key, v in asdict(self).items()}


@dataclass(frozen=True)
class Preparing(Event):
    """Work before the first step, e.g. latents being cached."""

    what: str
    done: int
    total: int


@dataclass(frozen=True)
class Warned(Event):
    """Something went unlike expected, training goes on."""

    message: str


@dataclass(frozen=True)
class StepDone(Event):
    """One optimizer step. ``loss`` is the last one read from the device, ``lr`` the first group's rate."""

    step: int
    total: int
    epoch: int
    loss: float | None
    lr: float
    seconds: float


@dataclass(frozen=True)
class EpochDone(Event):
    """An epoch ended. ``running_loss`` is the mean of its steps, ``fixed_loss`` comparable between epochs."""

    epoch: int
    step: int
    running_loss: float
    fixed_loss: float | None
    lora_path: Path | None


@dataclass(frozen=True)
class SampleDue(Event):
    """The sample prompts are to be drawn now, before the next event is asked for."""

    epoch: int
    step: int


@dataclass(frozen=True)
class Sampled(Event):
    """Sample pictures were made."""

    epoch: int
    step: int
    images: tuple[Path, ...]

    @override
    def to_dict(self) -> dict[str, Any]:
        return {"epoch": self.epoch, "step": self.step, "images": [str(path) for path in self.images]}


@dataclass(frozen=True)
class Saved(Event):
    """A LoRA file was written."""

    path: Path
    step: int


@dataclass(frozen=True)
class BackedUp(Event):
    """The progress was kept in a file of its own, to go back to."""

    path: Path
    step: int


@dataclass(frozen=True)
class Stopped(Event):
    """Ended on request; the run can be continued from ``step``."""

    step: int


@dataclass(frozen=True)
class Finished(Event):
    """All steps done; ``path`` is the final LoRA."""

    path: Path
    step: int


@dataclass(frozen=True)
class Failed(Event):
    """The numbers broke, or memory ran out; ``last_good`` is the newest LoRA file, if any."""

    error: UserError
    step: int
    last_good: Path | None
