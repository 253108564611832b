"""How a run went: its loss, its best epoch and its warnings."""

from __future__ import annotations

from lib_lora.training.best_epoch import Suggestion, suggest_epoch
from lib_lora.training.run import Run
from lib_lora.ui import html
from lib_lora.ui.charts import Point, loss_chart

SHOWN_WARNINGS = 5  # the latest


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


def lowest_epoch(run: Run) -> int | None:
    """The epoch of the lowest fixed-noise or held-out loss; None before two were measured."""
    rows = run.epochs()
    found = suggest_epoch(rows)
    return found.epoch if found is not None and len(rows) > 1 else None


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
    return damage_of(run) + "".join(html.message(text, html.WARNING) for text in run.warnings()[-SHOWN_WARNINGS:])


def damage_of(run: Run) -> str:
    """Files in its folder that cannot be read."""
    return "".join(html.message(text, html.WARNING) for text in run.damaged().values())
