"""All runs on disk, each a folder as :mod:`lib_lora.training.run` describes it."""

from __future__ import annotations

import json
import re
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from lib_lora.errors import UserError
from lib_lora.training.config import TrainConfig
from lib_lora.training.json_files import write_json
from lib_lora.training.run import Record, Run

TRASH = ".trash"


class RunStore:
    """All runs in one folder."""

    def __init__(self, folder: str | Path, clock: Callable[[], float] = time.time):
        self.folder = Path(folder)
        self.clock = clock

    def create(self, config: TrainConfig) -> Run:
        """A new run folder named by time and LoRA; ``config.model`` should say which checkpoint is meant."""
        created = self.clock()
        stamp = time.strftime("%Y%m%d-%H%M%S", time.localtime(created))
        folder = self._fresh_folder(f"{stamp}-{_safe(config.name)}")
        record = Record(folder.name, created, uuid.uuid4().int >> 96, config.model)
        run = Run(folder, record)
        run.write_config(config)
        write_json(folder / "run.json", asdict(record))  # last: without it the folder is no run yet
        return run

    def open(self, run_id: str) -> Run:
        """The run of that id.

        Raises:
            UserError: there is none, or its record cannot be read.
        """
        folder = self.folder / run_id
        try:
            return Run(folder, Record(**json.loads((folder / "run.json").read_text(encoding="utf-8"))))
        except FileNotFoundError as error:
            raise UserError("There is no such run", where=run_id, fix="Refresh the list of runs") from error
        except (ValueError, TypeError) as error:
            raise UserError("The record of this run is damaged", where=folder / "run.json") from error

    def list(self) -> list[Run]:
        """All readable runs, newest first."""
        runs = []
        for path in self.folder.glob("*/run.json"):
            try:
                runs.append(self.open(path.parent.name))
            except UserError:
                continue  # a damaged record must not hide the other runs; opening it by id names the problem
        return sorted(runs, key=lambda run: run.record.created, reverse=True)

    def with_config(self) -> Iterator[tuple[Run, TrainConfig]]:
        """The runs whose settings can be read too, with those, newest first."""
        for run in self.list():
            try:
                config = run.config()
            except UserError:
                continue  # as in list()
            yield run, config

    def named(self, name: str) -> Sequence[Run]:
        """The readable runs of a LoRA called ``name``, newest first; the others' folders are not opened."""
        runs = []
        for path in sorted(self.folder.glob(f"*-{_safe(name)}*/run.json"), reverse=True):
            try:
                run = self.open(path.parent.name)
                fits = run.config().name == name
            except UserError:
                continue  # as in list()
            if fits:
                runs.append(run)
        return runs

    def delete(self, run_id: str) -> Path:
        """Move a run to ``.trash``, from where it can be taken back; LoRA files stay. Returns its new place."""
        run = self.open(run_id)
        target = self.folder / TRASH / run.id
        while target.exists():
            target = target.with_name(target.name + "_")
        target.parent.mkdir(exist_ok=True)
        shutil.move(run.folder, target)
        return target

    def _fresh_folder(self, base: str) -> Path:
        for count in range(1, 1000):
            folder = self.folder / (base if count == 1 else f"{base}-{count}")
            try:
                folder.mkdir(parents=True)
            except FileExistsError:
                continue
            return folder
        raise UserError("Too many runs of this name in one second", where=self.folder)


def _safe(name: str) -> str:
    """A LoRA's name as part of a folder's."""
    return re.sub(r"[^\w.-]+", "_", name)
