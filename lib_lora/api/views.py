"""Jobs and runs as JSON."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lib_lora.adapters.formula import render
from lib_lora.errors import UserError
from lib_lora.jobs.views import JobView, TrainView
from lib_lora.tools.inspection import Facts
from lib_lora.tools.taste.session import TasteSession
from lib_lora.training.run import Run
from lib_lora.workbench import Workbench
from lib_lora.workbench.made import MadePictures
from lib_lora.workbench.taste import TasteTuning


def job(view: JobView) -> dict[str, Any]:
    """State, progress and, once it has ended, the result or the error of a job."""
    return {
        "id": view.id,
        "kind": view.kind,
        "title": view.title,
        "state": view.state,
        "done": view.done,
        "total": view.total,
        "note": view.note,
        "elapsed": round(view.elapsed, 3),
        "remaining": None if view.remaining is None else round(view.remaining, 3),
        "run": view.run if isinstance(view, TrainView) else None,
        "result": view.plain(),
        "error": view.error,
    }


def status(workbench: Workbench, *, read_only: bool) -> dict[str, Any]:
    """The loaded model, and all jobs of this session, oldest first."""
    info = workbench.host.info()
    current = workbench.queue.current()
    return {
        "model": None if info is None else {"name": info.name, "family": info.family, "prediction": info.prediction},
        "read_only": read_only,
        "current": None if current is None else current.id,
        "jobs": [job(view) for view in workbench.queue.jobs()],
    }


def run_line(run: Run) -> dict[str, Any]:
    """A run in the list of runs."""
    return {
        "id": run.id,
        "name": run.config().name,
        "model": run.record.model,
        "created": run.record.created,
        "status": run.status,
        "chosen": run.chosen() or None,
    }


def run_details(workbench: Workbench, run: Run) -> dict[str, Any]:
    """A run with its settings and its saved epochs."""
    epochs = [{**asdict(epoch), "path": Path(epoch.path).name} for epoch in workbench.epoch_files(run.id)]
    return {**run_line(run), "settings": asdict(run.config()), "epochs": epochs, "result": run.result() or None}


def lora(facts: Facts) -> dict[str, Any]:
    """What is known of a LoRA file; of its place only the name."""
    return {**asdict(facts), "path": facts.path.name}


def taste(tuning: TasteTuning, session: TasteSession) -> dict[str, Any]:
    """What is asked, with the paths of its pictures, and the best by now as a merge formula with how sure it is."""
    found = session.best()
    sides = tuning.pictures(session, session.answered) if session.current() else ([], [])
    return {
        "lora": tuning.name,
        "answers": session.answered,
        "question": session.answered,
        "pictures": [[str(wanted.path) for wanted in side] for side in sides],
        "ready": all(wanted.path.exists() for side in sides for wanted in side),
        "best": render(tuning.tuned(session.recipe).formula(found.point)),
        "sure": found.chance,
    }


def made(drawing: MadePictures) -> dict[str, Any]:
    """The pictures of a drawing: path, whether it is kept (None: nobody said), why it is set aside."""
    pictures = [
        {"picture": drawn.name, "path": str(drawn.path), "kept": drawn.kept, "aside": drawn.aside}
        for drawn in drawing.pictures()
    ]
    begun = drawing.spec()
    return {"name": drawing.name, "wanted": begun[1].count if begun else 0, "pictures": pictures}


def finite(value: Any) -> Any:
    """``value`` with None for numbers that JSON does not have: a loss may be NaN or infinite."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    return [finite(item) for item in value] if isinstance(value, (list, tuple)) else value


def error(found: UserError) -> dict[str, Any]:
    """What is wrong, where, and how to fix it."""
    return {"error": {"what": found.what, "where": found.where or "", "fix": found.fix or ""}}
