"""Runs on disk. A run is a folder:

``config.toml`` the whole truth · ``run.json`` its birth record · ``metrics.jsonl`` a line per step · ``epochs.json`` ·
``samples/`` · ``state/`` · ``backups/`` · ``notes.txt`` · an event file for TensorBoard · ``result.json`` how it ended
(missing: it is running, or was cut off and can be continued) · ``extensions.json`` how many epochs it had before.
"""

from __future__ import annotations

import json
import re
import shutil
import time
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lib_lora.errors import UserError
from lib_lora.files import naming_full_disk, write_text
from lib_lora.training import tensorboard
from lib_lora.training.config import TrainConfig
from lib_lora.training.config_file import read_config, write_config

TRASH = ".trash"
CONFIG = "config.toml"


@dataclass(frozen=True)
class Record:
    """Written once when the run is created, so that everything derived from it survives a resume unchanged."""

    id: str
    created: float  # seconds since 1970
    session_id: int
    model: str


@dataclass(frozen=True)
class Run:
    """One run folder; every reader tolerates files that are not there yet."""

    folder: Path
    record: Record

    @property
    def id(self) -> str:
        return self.record.id

    @property
    def samples(self) -> Path:
        return self.folder / "samples"

    @property
    def state(self) -> Path:
        return self.folder / "state"

    def config(self) -> TrainConfig:
        """The settings it was started with; from the copy beside the state where ``config.toml`` is damaged."""
        copy = self.state / CONFIG
        try:
            config = read_config(self.folder / CONFIG)
            if config.name or not copy.exists():  # an empty file is TOML too
                return config
        except UserError:
            if not copy.exists():
                raise
        return read_config(copy)

    @property
    def has_begun(self) -> bool:
        """True from the first step on record on."""
        return (self.folder / "metrics.jsonl").exists()

    def metrics(self) -> list[dict[str, Any]]:
        """A dict per step: step, lr, loss, grad_norm. A half-written last line is left out."""
        return _read_lines(self.folder / "metrics.jsonl")

    def epochs(self) -> list[dict[str, Any]]:
        """A dict per finished epoch: epoch, step, running_loss, fixed_loss, lora_path (or None), validation_loss, and
        both losses image by image in ``fixed_losses`` and ``validation_losses``."""
        return _read_json(self.folder / "epochs.json", [])

    def result(self) -> dict[str, Any]:
        """status ("finished", "stopped", "failed"), step, path, reason; empty while running or after a crash."""
        return _read_json(self.folder / "result.json", {})

    @property
    def status(self) -> str:
        """How it ended: "finished", "stopped" or "failed"; "unfinished" while it runs and after a crash."""
        return self.result().get("status", "unfinished")

    def append_metrics(self, rows: list[dict[str, Any]]) -> None:
        """Add lines to ``metrics.jsonl``, and the same to the event file."""
        path = self.folder / "metrics.jsonl"
        with naming_full_disk(path), open(path, "a", encoding="utf-8", newline="\n") as f:
            f.writelines(json.dumps(row) + "\n" for row in rows)
        tensorboard.append_rows(self._events, rows)

    def add_epoch(self, row: dict[str, Any]) -> None:
        """Add or replace an epoch in ``epochs.json``, and add it to the event file."""
        self.set_epoch(row)
        tensorboard.append_rows(self._events, [row])

    def set_epoch(self, row: dict[str, Any]) -> None:
        """Add or replace an epoch in ``epochs.json`` only."""
        rows = [known for known in self.epochs() if known["epoch"] != row["epoch"]]
        _write_json(self.folder / "epochs.json", sorted([*rows, row], key=lambda known: known["epoch"]))

    @property
    def _events(self) -> Path:
        return self.folder / f"events.out.tfevents.{self.record.created:.0f}.lora-workbench"

    def notes(self) -> str:
        """What the user wrote about it."""
        path = self.folder / "notes.txt"
        return path.read_text(encoding="utf-8") if path.exists() else ""

    def set_notes(self, text: str) -> None:
        """Keep the user's notes; empty text removes them."""
        if text.strip():
            write_text(self.folder / "notes.txt", text.strip() + "\n")
        else:
            (self.folder / "notes.txt").unlink(missing_ok=True)

    def set_result(self, status: str, step: int, path: Path | None = None, reason: str = "") -> None:
        """Record how it ended."""
        values = {"status": status, "step": step, "path": str(path) if path else None, "reason": reason}
        _write_json(self.folder / "result.json", values)

    def chosen(self) -> dict[str, Any]:
        """The user's choice from the epoch grid: epoch and weight; empty before there is one."""
        return _read_json(self.folder / "chosen.json", {})

    def choose(self, epoch: int, weight: float) -> None:
        """Remember the user's choice."""
        _write_json(self.folder / "chosen.json", {"epoch": epoch, "weight": weight})

    def write_config(self, config: TrainConfig) -> None:
        """Replace the settings; only for a run that has not begun, or with what :meth:`extended` allows."""
        for folder in (self.folder, self.state):
            write_config(folder / CONFIG, config)

    def extensions(self) -> list[int]:
        """The numbers of epochs that it was planned with before it was extended."""
        return _read_json(self.folder / "extensions.json", [])

    def extended(self, epochs: int) -> None:
        """Remember that it was planned with ``epochs`` epochs."""
        _write_json(self.folder / "extensions.json", sorted({*self.extensions(), epochs}))

    def sweep(self) -> dict[str, Any]:
        """``label``, what this run varies, and ``grid``, the folder of the sweep's grid; empty outside of a sweep."""
        return _read_json(self.folder / "sweep.json", {})

    def join_sweep(self, label: str, grid: Path) -> None:
        """Remember that this run is one of a sweep."""
        _write_json(self.folder / "sweep.json", {"label": label, "grid": str(grid)})

    def reopen(self) -> None:
        """Forget that it had ended."""
        (self.folder / "result.json").unlink(missing_ok=True)

    def rewind(self, step: int) -> None:
        """Forget what was recorded after ``step``, which is about to be done again, and that the run had ended."""
        self.reopen()
        kept = [json.dumps(row) + "\n" for row in self.metrics() if row["step"] <= step]
        write_text(self.folder / "metrics.jsonl", "".join(kept))
        _write_json(self.folder / "epochs.json", [row for row in self.epochs() if row["step"] <= step])
        rows = sorted([*self.metrics(), *self.epochs()], key=lambda row: row["step"])
        tensorboard.rewrite_rows(self._events, rows)


class Onlooker(Run):
    """A run that another process records: reading works, recording does nothing."""

    def append_metrics(self, rows: list[dict[str, Any]]) -> None:
        pass

    def add_epoch(self, row: dict[str, Any]) -> None:
        pass

    def set_result(self, status: str, step: int, path: Path | None = None, reason: str = "") -> None:
        pass

    def rewind(self, step: int) -> None:
        pass


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
        _write_json(folder / "run.json", asdict(record))  # last: without it the folder is no run yet
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

    def named(self, name: str) -> list[Run]:
        """The readable runs of a LoRA called ``name``, newest first; the others' folders are not opened."""
        runs = []
        for path in sorted(self.folder.glob(f"*-{_safe(name)}*/run.json"), reverse=True):
            try:
                run = self.open(path.parent.name)
            except UserError:
                continue  # as in list()
            if run.config().name == name:
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


def _write_json(path: Path, value: Any) -> None:
    write_text(path, json.dumps(value, indent=1))


def _read_json(path: Path, default: Any) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return default


def _read_lines(path: Path) -> list[dict[str, Any]]:
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return []
    rows = []
    for line in text.splitlines():
        try:
            rows.append(json.loads(line))
        except ValueError:
            continue  # cut off by a crash; its step will be done and written again
    return rows
