"""All runs on disk, each a folder as :mod:`lib_lora.training.run` describes it."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from lib_lora.errors import UserError
from lib_lora.files import move, naming_refusals
from lib_lora.part_files import part_name
from lib_lora.small_files import Damaged, load, record, write_json
from lib_lora.training.config import TrainConfig
from lib_lora.training.run import Record, Run

TRASH = ".trash"


class RunStore:
    """All runs in one folder."""

    def __init__(self, folder: str | Path, clock: Callable[[], float] = time.time):
        self.folder = Path(folder)
        self.clock = clock
        self._newest = 0.0

    def create(self, config: TrainConfig) -> Run:
        """A new run folder named by time and LoRA; ``config.model`` should say which checkpoint is meant."""
        created = self._newest = max(self.clock(), self._newest + 1e-3)  # the system's clock may be set back meanwhile
        stamp = time.strftime("%Y%m%d-%H%M%S", time.localtime(created))
        base, part = f"{stamp}-{_safe(config.name)}", self.folder / part_name()
        try:
            with naming_refusals(self.folder / base):
                part.mkdir(parents=True)
                birth = Record(base, created, uuid.uuid4().int >> 96, config.model)
                Run(part, birth).write_config(config)
                run = self._named(part, birth)
        except UserError as error:
            if str(part) in str(error.where):
                raise UserError(error.what, where=self.folder / base, fix=error.fix) from error
            raise
        finally:
            shutil.rmtree(part, ignore_errors=True)
        # whoever watches the folder of runs may have looked when this one could not be read yet
        now = time.time_ns()
        with suppress(OSError):
            os.utime(self.folder, ns=(now, now))
        return run

    def open(self, run_id: str) -> Run:
        """The run of that id. Of a damaged record, what else is known stands in; :meth:`Run.damaged` says so.

        Raises:
            UserError: there is none.
        """
        if Path(run_id).name != run_id or "\0" in run_id or not (self.folder / run_id / "run.json").exists():
            raise UserError("There is no such run", where=run_id, fix="Refresh the list of runs")
        folder = self.folder / run_id
        try:
            birth = load(folder / "run.json", lambda content: record(Record, content), None)
            return Run(folder, replace(birth, id=run_id) if birth else _made_up(folder, ""))
        except Damaged as error:
            return Run(folder, _made_up(folder, str(error)))

    def list(self) -> list[Run]:
        """All readable runs, newest first."""
        runs = []
        for path in self._records("*"):
            try:
                runs.append(self.open(path.parent.name))
            except UserError:
                continue  # deleted a moment ago
        return sorted(runs, key=lambda run: run.record.created, reverse=True)

    def with_config(self) -> Iterator[tuple[Run, TrainConfig]]:
        """The runs whose settings can be read too, with those, newest first."""
        for run in self.list():
            try:
                config = run.config()
            except UserError:
                continue  # opening it by its id names the problem
            yield run, config

    def named(self, name: str) -> Sequence[Run]:
        """The readable runs of a LoRA called ``name``, newest first; the others' folders are not opened."""
        runs = []
        for path in sorted(self._records(f"*-{_safe(name)}*"), reverse=True):
            try:
                run = self.open(path.parent.name)
                fits = run.config().name == name
            except UserError:
                continue  # as in with_config()
            if fits:
                runs.append(run)
        return runs

    def delete(self, run_id: str) -> Path:
        """Move a run to ``.trash``, from where it can be taken back; LoRA files stay. Returns its new place."""
        run = self.open(run_id)
        target = self.folder / TRASH / run.id
        while target.exists():
            target = target.with_name(target.name + "_")
        with naming_refusals(run.folder):
            target.parent.mkdir(exist_ok=True)
            shutil.move(run.folder, target)
        return target

    def _named(self, part: Path, birth: Record) -> Run:
        """The run that was made in ``part``, whole, under its name or the next that is free."""
        for count in range(1, 1000):
            named = birth if count == 1 else replace(birth, id=f"{birth.id}-{count}")
            folder = self.folder / named.id
            if folder.exists():
                continue
            write_json(part / "run.json", _kept(named))
            try:
                move(part, folder)
            except OSError:
                if folder.exists():  # another process was faster
                    continue
                raise
            return Run(folder, named)
        raise UserError("Too many runs of this name in one second", where=self.folder)

    def _records(self, names: str) -> Sequence[Path]:
        """The files of runs whose folders fit a pattern; not of one that is being made, or of the dead."""
        return [path for path in self.folder.glob(f"{names}/run.json") if not path.parent.name.startswith(".")]


def _kept(birth: Record) -> dict[str, Any]:
    """What is written of a record."""
    return {name: value for name, value in asdict(birth).items() if name != "fault"}


def _made_up(folder: Path, fault: str) -> Record:
    """A record from the folder's name and the settings; the same each time."""
    try:
        created = time.mktime(time.strptime(folder.name[:15], "%Y%m%d-%H%M%S"))
    except (ValueError, OverflowError):
        created = folder.stat().st_mtime
    session = int.from_bytes(hashlib.sha256(folder.name.encode(errors="replace")).digest()[:4], "big")
    try:
        model = Run(folder, Record(folder.name, created, session, "")).config().model
    except UserError:
        model = ""
    return Record(folder.name, created, session, model, fault)


def _safe(name: str) -> str:
    """A LoRA's name as part of a folder's."""
    return re.sub(r"[^\w.-]+", "_", name)
