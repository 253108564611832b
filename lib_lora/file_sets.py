"""Files that belong together, such as a LoRA, its picture and its card: they appear all, or none does.

All are written under temporary names first. Then a plan says which is to be called what, and only then they are
renamed: whoever comes after a crash finds the plan and finishes it.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

from lib_lora.errors import UserError
from lib_lora.files import make_folder, move, write_text
from lib_lora.ownership import sweep_locks
from lib_lora.part_files import PLAN, is_left_over, part_name, sweep_parts

LOG = logging.getLogger(__name__)
_RENAMING = Lock()


@contextmanager
def file_set(targets: Sequence[Path]) -> Iterator[list[Path]]:
    """Yield a temporary path for each of ``targets``, all in one folder; afterwards they have their names.

    The first of them gets its name last. If the body raises, nothing is left.

    Raises:
        UserError: one of them exists; what the body raises about a temporary path names the target.
    """
    folder = targets[0].parent
    refuse_existing(targets)
    make_folder(folder)
    parts = [folder / part_name() for _ in targets]
    try:
        yield parts
        for part in parts:
            with open(part, "rb+") as file:
                os.fsync(file.fileno())
        refuse_existing(targets)
        plan = parts[0].with_suffix(PLAN)
        names = {part.name: target.name for part, target in zip(parts, targets, strict=True)}
        write_text(plan, json.dumps(names))
    except BaseException as error:
        for part in parts:
            part.unlink(missing_ok=True)
        named = {str(part): target for part, target in zip(parts, targets, strict=True)}
        if isinstance(error, UserError) and error.where in named:
            raise UserError(error.what, where=named[error.where], fix=error.fix) from error
        raise
    with _RENAMING:
        _carry_out(plan, names)


def finish_sets(folders: Iterable[Path]) -> list[Path]:
    """Finish what was cut off while files of these folders got their names; returns those that got them now."""
    finished: list[Path] = []
    with _RENAMING:  # then no plan of this process is being carried out
        for plan in (plan for folder in folders for plan in sorted(folder.glob(f".*{PLAN}"))):
            try:
                names = {str(part): str(name) for part, name in json.loads(plan.read_text(encoding="utf-8")).items()}
                if any(Path(name).name != name for pair in names.items() for name in pair):
                    raise ValueError("names of other folders")
                if f"-{os.getpid()}-" in plan.name or is_left_over(plan.with_name(next(iter(names)))):
                    finished += _carry_out(plan, names)
            except (OSError, ValueError, AttributeError, StopIteration):
                LOG.warning("%s cannot be carried out now; the files that it is about stay as they are", plan)
    return finished


def finish_and_sweep(folders: Sequence[Path]) -> None:
    """What a start does in the folders that are written to: sets that were cut off are finished, then what is left over
    of the dead goes, temporary files and locks."""
    finish_sets(folders)
    sweep_parts(folders)
    sweep_locks(folders)


def refuse_existing(targets: Iterable[Path]) -> None:
    """Raise a UserError where one of ``targets`` exists."""
    for path in targets:
        if path.exists():
            raise UserError("There is a file of this name already", where=path, fix="Choose another name.")


def _carry_out(plan: Path, names: dict[str, str]) -> list[Path]:
    """Rename what is not renamed yet, the first of a set last; a file that came in between is not replaced."""
    for part, name in reversed(list(names.items())):
        source, target = plan.with_name(part), plan.with_name(name)
        if source.exists() and not target.exists():
            move(source, target)
    plan.unlink(missing_ok=True)
    return [plan.with_name(name) for name in names.values()]
