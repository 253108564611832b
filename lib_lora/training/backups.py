"""Copies of a run's progress that the user asked for, to go back to."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from lib_lora.errors import UserError
from lib_lora.files import atomic_write
from lib_lora.training.run import Run
from lib_lora.training.state import SLOTS, StateSlots

NAME = re.compile(r"step(\d+)\.safetensors")


def backups(run: Run) -> list[int]:
    """The steps that can be gone back to, in order."""
    matches = (NAME.fullmatch(path.name) for path in _folder(run).glob("step*.safetensors"))
    return sorted(int(match[1]) for match in matches if match)


def back_up(run: Run) -> Path:
    """Keep a copy of the newest saved state; the same step is kept once.

    Raises:
        UserError: nothing was saved yet.
    """
    saved = StateSlots(run.state).newest()
    if saved is None:
        raise UserError("No progress is saved yet", where=run.id, fix="Wait for the end of the first epoch")
    target = _folder(run) / f"step{saved.position.step:08d}.safetensors"
    if not target.exists():
        _copy(saved.slot, target)
    return target


def go_back(run: Run, step: int) -> None:
    """Make the backup of ``step`` the run's present state; what was saved since is backed up first.

    LoRA files that were written later stay until training writes the same epochs again.

    Raises:
        UserError: there is no such backup.
    """
    source = _folder(run) / f"step{step:08d}.safetensors"
    if not source.is_file():
        raise UserError(f"There is no backup of step {step}", where=run.id, fix="Choose another one")
    present = StateSlots(run.state).newest()
    if present is not None:
        back_up(run)
    newest = run.state / SLOTS[1] if present is None else present.slot
    _copy(source, next(run.state / name for name in SLOTS if name != newest.name))
    newest.unlink(missing_ok=True)  # until here the run stands where it stood
    run.rewind(step)


def _folder(run: Run) -> Path:
    return run.folder / "backups"


def _copy(source: Path, target: Path) -> None:
    with atomic_write(target) as part:
        shutil.copyfile(source, part)
