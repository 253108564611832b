"""One run on disk. A run is a folder:

``config.toml`` the whole truth · ``run.json`` its birth record · ``metrics.jsonl`` a line per step · ``epochs.json`` ·
``samples/`` · ``warnings.jsonl`` what went wrong without ending it · ``pauses.jsonl`` · ``state/`` · ``backups/`` ·
``notes.txt`` · an event file for TensorBoard · ``result.json`` how it ended
(missing: it is running, or was cut off and can be continued) · ``extensions.json`` how many epochs it had before.
"""

from __future__ import annotations

import json
import math
import time
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from statistics import fmean
from typing import Any

from typing_extensions import override

from lib_lora.errors import UserError
from lib_lora.files import naming_refusals, write_text
from lib_lora.small_files import damage, plain_text, read_lines, set_aside, tolerated, write_json
from lib_lora.training import run_files, step_log, tensorboard
from lib_lora.training.config import TrainConfig
from lib_lora.training.config_file import read_config, write_config

CONFIG = "config.toml"
PUBLISHED = "published.json"
SMALL_FILES = {
    "epochs.json": run_files.epochs,
    "result.json": run_files.result,
    "chosen.json": run_files.choice,
    "extensions.json": run_files.extensions,
    "mixture.json": run_files.mixture,
    "sweep.json": run_files.sweep,
}


@dataclass(frozen=True)
class Record:
    """Written once when the run is created, so that everything derived from it survives a resume unchanged."""

    id: str
    created: float  # seconds since 1970
    session_id: int
    model: str
    fault: str = field(default="", compare=False)  # why it had to be made up from what else is known


@dataclass(frozen=True)
class Run:
    """One run folder; every reader tolerates files that are not there yet."""

    folder: Path
    record: Record

    @property
    def id(self) -> str:
        """The name of its folder."""
        return self.record.id

    @property
    def samples(self) -> Path:
        """Folder of the pictures that were drawn during the training."""
        return self.folder / "samples"

    @property
    def state(self) -> Path:
        """Folder of what a training goes on from."""
        return self.folder / "state"

    def config(self) -> TrainConfig:
        """The settings it was started with.

        Raises:
            UserError: ``config.toml`` cannot be read; one that is only cut off is read from its copy.
        """
        return read_config(self.state / CONFIG if self.config_cut_off() else self.folder / CONFIG)

    def config_cut_off(self) -> bool:
        """Whether ``config.toml`` is missing, empty, or only the beginning of its copy in ``state/``: what is left of
        it when the whole machine crashed, and nothing that a user wrote."""
        path, copy = self.folder / CONFIG, self.state / CONFIG
        if not copy.is_file():
            return False
        present = path.read_bytes().rstrip(b"\0\r\n ") if path.is_file() else b""
        whole = copy.read_bytes().rstrip()
        return present != whole and whole.startswith(present)

    @property
    def has_begun(self) -> bool:
        """True from the first step on record on."""
        return self._steps.exists()

    @property
    def steps(self) -> int:
        """The last step that is on record; of a run that was cut off, as far as it came."""
        last = next(step_log.rows_back(self._steps), {"step": 0})
        return int(self.result().get("step") or last["step"])

    def metrics(self) -> list[dict[str, Any]]:
        """A dict per step: step, lr, loss, grad_norm. What is no step is left out, such as a half-written line."""
        return step_log.rows(self._steps)

    def mean_loss(self, after: int) -> float:
        """The mean loss of the steps after step ``after``; NaN where none is on record."""
        rows = takewhile(lambda row: row["step"] > after, step_log.rows_back(self._steps))
        losses = [row["loss"] for row in rows if "loss" in row]
        return fmean(losses) if losses else math.nan

    def epochs(self) -> list[dict[str, Any]]:
        """A dict per finished epoch: epoch, step, running_loss, fixed_loss, lora_path (or None), validation_loss, and
        both losses image by image in ``fixed_losses`` and ``validation_losses``."""
        return tolerated(self.folder / "epochs.json", run_files.epochs, [])

    def result(self) -> dict[str, Any]:
        """status ("finished", "stopped", "failed"), step, path, reason; empty while running or after a crash."""
        return tolerated(self.folder / "result.json", run_files.result, {})

    @property
    def status(self) -> str:
        """How it ended: "finished", "stopped" or "failed"; "unfinished" while it runs and after a crash."""
        return str(self.result().get("status", "unfinished"))

    def append_metrics(self, rows: list[dict[str, Any]]) -> None:
        """Add lines to ``metrics.jsonl``, and the same to the event file."""
        with naming_refusals(self._steps), open(self._steps, "a", encoding="utf-8", newline="\n") as f:
            f.writelines(json.dumps(row) + "\n" for row in rows)
        tensorboard.append_rows(self._events, rows)

    def add_epoch(self, row: dict[str, Any]) -> None:
        """Add or replace an epoch in ``epochs.json``, and add it to the event file."""
        self.set_epoch(row)
        tensorboard.append_rows(self._events, [row])

    def set_epoch(self, row: dict[str, Any]) -> None:
        """Add or replace an epoch in ``epochs.json`` only."""
        set_aside(self.folder / "epochs.json", run_files.epochs)
        row = {name: None if isinstance(value, float) and math.isnan(value) else value for name, value in row.items()}
        rows = [known for known in self.epochs() if known["epoch"] != row["epoch"]]
        self._write("epochs.json", sorted([*rows, row], key=lambda known: known["epoch"]))

    @property
    def _steps(self) -> Path:
        return self.folder / "metrics.jsonl"

    @property
    def _events(self) -> Path:
        return self.folder / f"events.out.tfevents.{self.record.created:.0f}.lora-workbench"

    def notes(self) -> str:
        """What the user wrote about it."""
        with suppress(OSError):
            return plain_text(self.folder / "notes.txt")
        return ""

    def damaged(self) -> dict[str, str]:
        """Name of a damaged file -> what is wrong with it and what to do; all else of the run works."""
        found = {name: damage(self.folder / name, read) for name, read in SMALL_FILES.items()}
        found["run.json"] = self.record.fault
        notes = self.folder / "notes.txt"
        if notes.exists() and not notes.is_file():
            found["notes.txt"] = f"This is no file of notes: {notes} — Remove it to keep notes"
        return {name: fault for name, fault in found.items() if fault}

    def set_notes(self, text: str) -> None:
        """Keep the user's notes; empty text removes them."""
        if text.strip():
            self._be_there()
            write_text(self.folder / "notes.txt", text.strip() + "\n")
        else:
            (self.folder / "notes.txt").unlink(missing_ok=True)

    def set_result(self, status: str, step: int, path: Path | None = None, reason: str = "") -> None:
        """Record how it ended."""
        values = {"status": status, "step": step, "path": str(path) if path else None, "reason": reason}
        self._write("result.json", values)

    def warnings(self) -> list[str]:
        """What went wrong without ending it, in order, each thing once."""
        rows = read_lines(self.folder / "warnings.jsonl")
        return list(dict.fromkeys(row["message"] for row in rows if isinstance(row.get("message"), str)))

    def add_warning(self, message: str) -> None:
        """Note what went wrong without ending the run. Never fails: the disk may be what is full."""
        with suppress(OSError), open(self.folder / "warnings.jsonl", "a", encoding="utf-8", newline="\n") as f:
            f.write(json.dumps({"message": message}) + "\n")

    def pauses(self) -> list[tuple[float, int, bool]]:
        """When it was paused (True) and went on (False): seconds since 1970, step, which of both."""
        rows = read_lines(self.folder / "pauses.jsonl")
        return [
            (row["time"], row["step"], row["paused"])
            for row in rows
            if isinstance(row.get("time"), float) and isinstance(row.get("step"), int) and "paused" in row
        ]

    def add_pause(self, step: int, *, paused: bool) -> None:
        """Note that it was paused, or goes on. Never fails, as :meth:`add_warning`."""
        line = json.dumps({"time": time.time(), "step": step, "paused": paused})
        with suppress(OSError), open(self.folder / "pauses.jsonl", "a", encoding="utf-8", newline="\n") as f:
            f.write(line + "\n")

    def chosen(self) -> dict[str, Any]:
        """The user's choice from the epoch grid: epoch and weight; empty before there is one."""
        return tolerated(self.folder / "chosen.json", run_files.choice, {})

    def choose(self, epoch: int, weight: float) -> None:
        """Remember the user's choice."""
        self._write("chosen.json", {"epoch": epoch, "weight": weight})

    def mixture(self) -> dict[str, Any]:
        """The best mixture of its epochs that was found last, as ``tools.mixture`` writes it; empty before."""
        return tolerated(self.folder / "mixture.json", run_files.mixture, {})

    def set_mixture(self, found: dict[str, Any]) -> None:
        """Keep the best mixture of its epochs."""
        self._write("mixture.json", found)

    def set_published(self, name: str, path: Path) -> None:
        """Remember that something of it was published."""
        self._write(PUBLISHED, {"name": name, "path": str(path)})

    def write_config(self, config: TrainConfig) -> None:
        """Replace the settings; only for a run that has not begun, or with what :meth:`extended` allows."""
        for folder in (self.folder, self.state):
            write_config(folder / CONFIG, config)

    def extensions(self) -> list[int]:
        """The numbers of epochs, or of steps where these bound it, that it had before it was extended."""
        return tolerated(self.folder / "extensions.json", run_files.extensions, [])

    def extended(self, length: int) -> None:
        """Remember the number of epochs or steps that it was planned with."""
        self._write("extensions.json", sorted({*self.extensions(), length}))

    def sweep(self) -> dict[str, Any]:
        """``label``, what this run varies, and ``grid``, the folder of the sweep's grid; empty outside of a sweep."""
        return tolerated(self.folder / "sweep.json", run_files.sweep, {})

    def join_sweep(self, label: str, grid: Path) -> None:
        """Remember that this run is one of a sweep."""
        self._write("sweep.json", {"label": label, "grid": str(grid)})

    def reopen(self) -> None:
        """Forget that it had ended."""
        (self.folder / "result.json").unlink(missing_ok=True)

    def rewind(self, step: int) -> None:
        """Forget what was recorded after ``step``, which is about to be done again, and that the run had ended."""
        self.reopen()
        with naming_refusals(self._steps):
            step_log.cut_after(self._steps, step)
        set_aside(self.folder / "epochs.json", run_files.epochs)
        epochs = self.epochs()
        if (kept := [row for row in epochs if row["step"] <= step]) != epochs or not epochs:
            self._write("epochs.json", kept)
        if not tensorboard.cut_after(self._events, step):
            rows = sorted([*self.metrics(), *kept], key=lambda row: row["step"])
            tensorboard.rewrite_rows(self._events, rows)

    def _write(self, name: str, value: Any) -> None:
        self._be_there()
        write_json(self.folder / name, value)

    def _be_there(self) -> None:
        """UserError where the run was deleted meanwhile: a folder with one file would keep it from being put back."""
        if not self.folder.is_dir():
            fix = "Put its folder back from .trash, or choose another run"
            raise UserError("This run was deleted", where=self.record.id, fix=fix)


class Onlooker(Run):
    """A run that another process records: reading works, recording does nothing."""

    @override
    def write_config(self, config: TrainConfig) -> None:
        pass

    @override
    def append_metrics(self, rows: list[dict[str, Any]]) -> None:
        pass

    @override
    def add_epoch(self, row: dict[str, Any]) -> None:
        pass

    @override
    def add_warning(self, message: str) -> None:
        pass

    @override
    def add_pause(self, step: int, *, paused: bool) -> None:
        pass

    @override
    def set_result(self, status: str, step: int, path: Path | None = None, reason: str = "") -> None:
        pass

    @override
    def rewind(self, step: int) -> None:
        pass
