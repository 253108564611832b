"""One run opened, and several beside each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from html import escape
from pathlib import Path
from typing import Any

from lib_lora.training.backups import backups
from lib_lora.training.config import settings
from lib_lora.training.run import Run
from lib_lora.ui import html
from lib_lora.ui.charts import runs_chart, smoothed, thinned
from lib_lora.ui.files import Pictures
from lib_lora.ui.run_log import run_log
from lib_lora.ui.run_matrix import sample_matrix
from lib_lora.ui.run_view import best_epoch, epoch_losses, loss_of, losses, lowest_epoch, warnings_of
from lib_lora.ui.runs_table import BACK, state_of


def details(run: Run, active: str | None, pictures: Pictures) -> str:
    """Where it is, how it went, its samples, and what differs from the defaults."""
    config = run.config()
    changed = [row for row in setting_rows(run) if row[1] != row[2]]
    parts = [
        f'<p class="lw-title"><b>{escape(config.name)}</b> · {escape(state_of(run, active))} · '
        f"{html.plural(run.steps, 'step')}<br><code>{escape(str(run.folder))}</code></p>",
        _reason(run),
        warnings_of(run),
        loss_of(run) or html.hint("No step was recorded yet."),
        best_epoch(run),
        sample_matrix(run, pictures, lowest_epoch(run)),
        _sweep(run, pictures),
        _backups(run),
        f"<details><summary>What happened</summary>{run_log(run)}</details>",
        html.table(["Setting", "Value", "Default"], changed),
    ]
    return "".join(parts)


def comparison(runs: Sequence[Run]) -> str:
    """The losses of several runs in one picture each, and the settings in which they differ."""
    names = [run.config().name for run in runs]
    labels = [name if names.count(name) == 1 else run.id for name, run in zip(names, runs, strict=True)]
    running = [(label, thinned(smoothed(losses(run)))) for label, run in zip(labels, runs, strict=True)]
    fixed = [(label, epoch_losses(run, "fixed_loss")) for label, run in zip(labels, runs, strict=True)]
    charts = runs_chart(running, "Running loss, smoothed") + runs_chart(fixed, "Fixed-noise loss per epoch")
    values = [asdict(run.config()) for run in runs]
    rows = [
        (f.metadata["label"], *(_said(v[name]) for v in values))
        for name, f in settings().items()
        if len({str(v[name]) for v in values}) > 1
    ]
    same = html.message("All have the same settings.")
    return charts + (html.table(["Setting", *labels], rows) if rows else same)


def setting_rows(run: Run) -> list[tuple[str, Any, Any]]:
    """Label, value and default of every setting."""
    values = asdict(run.config())
    return [(f.metadata["label"], _said(values[name]), _said(f.default)) for name, f in settings().items()]


def _said(value: Any) -> Any:
    """As the form shows it: a check box is on or off."""
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else value


def _reason(run: Run) -> str:
    reason = run.result().get("reason")
    return html.message(reason, html.ERROR) if reason else ""


def _sweep(run: Run, pictures: Pictures) -> str:
    sweep = run.sweep()
    sheet = Path(sweep["grid"]) / "grid.png" if sweep else None
    if sheet is None or not sheet.is_file():
        return ""
    if not pictures.gives_out(sheet):  # moved, or written by something else
        return ""
    return html.sheet(pictures.url(sheet), f"Grid of the variants; this one is {sweep['label']}")


def _backups(run: Run) -> str:
    kept = backups(run)
    if not kept:
        return ""
    buttons = " ".join(html.pick_button(f"Go back to step {step}", BACK, f"back:{run.id}:{step}") for step in kept)
    return f'<div class="lw-block"><i>Backups</i><br>{buttons}</div>'
