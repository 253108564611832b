"""A run in pictures: its loss, its best epoch and its samples."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from lib_lora.training.best_epoch import Suggestion, suggest_epoch
from lib_lora.training.run import Run
from lib_lora.ui import html
from lib_lora.ui.charts import Point, loss_chart
from lib_lora.ui.files import Pictures

SHOWN = 60
SHOWN_WARNINGS = 5  # the latest
SAMPLE_NAME = re.compile(r"e(\d+)_s(\d+)_(\d+)")


def losses(run: Run) -> list[Point]:
    """(step, loss) of every step."""
    return [(row["step"], row["loss"]) for row in run.metrics() if "loss" in row]


def epoch_losses(run: Run, key: str) -> list[Point]:
    """(step, loss) of every epoch in which ``key``, a column of ``epochs.json``, was measured."""
    return [(row["step"], row[key]) for row in run.epochs() if row.get(key) is not None]


def loss_of(run: Run, title: str = "Loss") -> str:
    """Chart of the running, the fixed-noise and the held-out loss; empty before the first value."""
    held_out = epoch_losses(run, "validation_loss")
    return loss_chart(losses(run), epoch_losses(run, "fixed_loss"), held_out, title=title)


def best_epoch(run: Run) -> str:
    """Which epoch to take and how sure that is; empty before two epochs were measured."""
    rows = run.epochs()
    found = suggest_epoch(rows)
    return html.message(best_epoch_text(found)) if found is not None and len(rows) > 1 else ""


def best_epoch_text(found: Suggestion) -> str:
    """A sentence about a suggestion."""
    kind = "loss on held-out images" if found.kind == "validation" else "fixed-noise loss"
    text = f"Epoch {found.epoch} has the lowest {kind} ({found.loss:.4g})."
    if not found.differences:
        unsure = f" How sure that is cannot be told from {html.plural(found.pictures, 'image')}; let the grid decide."
        return text + (unsure if found.pictures else " Let the grid decide.")
    if not found.as_good:
        return f"{text} That is clearly lower than all others, image by image ({found.pictures} images)."
    others = ", ".join(map(str, found.as_good))
    noun = "Epoch" if len(found.as_good) == 1 else "Epochs"
    verb = "is" if len(found.as_good) == 1 else "are"
    return f"{text} {noun} {others} {verb} as good within the error of {found.pictures} images; let the grid decide."


def warnings_of(run: Run) -> str:
    """What is damaged in its folder, and what went wrong without ending it."""
    found = [*run.damaged().values(), *run.warnings()[-SHOWN_WARNINGS:]]
    return "".join(html.message(text, html.WARNING) for text in found)


def sample_strip(files: Sequence[Path], pictures: Pictures) -> str:
    """The latest sample images, newest at the right."""
    if not files:
        return ""
    shown = "".join(html.picture(pictures.url(path), sample_name(path)) for path in files[-SHOWN:])
    return f'<div class="lw-strip" tabindex="0" aria-label="Samples">{shown}</div>'


def sample_name(path: Path) -> str:
    """``e000002_s00000040_00.png`` → ``epoch 2, step 40``; of step 0 ``start``."""
    match = SAMPLE_NAME.match(path.stem)
    if match is None:
        return path.stem
    return f"epoch {int(match[1])}, step {int(match[2])}" if int(match[2]) else "start"
