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
from lib_lora.files import naming_refusals
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
        folder = self._fresh_folder(f"{stamp}-{_safe(config.name)}")
        birth = Record(folder.name, created, uuid.uuid4().int >> 96, config.model)
        run = Run(folder, birth)
        run.write_config(config)
        write_json(folder / "run.json", _kept(birth))  # last: without it the folder is no run yet
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
        for path in self.folder.glob("*/run.json"):
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
        for path in sorted(self.folder.glob(f"*-{_safe(name)}*/run.json"), reverse=True):
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

    def _fresh_folder(self, base: str) -> Path:
        for count in range(1, 1000):
            folder = self.folder / (base if count == 1 else f"{base}-{count}")
            try:
                with naming_refusals(folder):
                    folder.mkdir(parents=True)
            except FileExistsError:
                continue
            return folder
        raise UserError("Too many runs of this name in one second", where=self.folder)


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
