"""Runs: what was trained, how it went, and what differed."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import gradio as gr

from lib_lora.errors import UserError
from lib_lora.training.config import settings
from lib_lora.training.run_store import Run
from lib_lora.ui import html
from lib_lora.ui.actions import act, panel
from lib_lora.ui.charts import two_runs_chart
from lib_lora.ui.choices import choices, run_names
from lib_lora.ui.files import Pictures
from lib_lora.ui.poll import Poller
from lib_lora.ui.run_view import loss_of, losses, sample_strip
from lib_lora.workbench import Workbench

NO_RUNS = "No run yet. Every training appears here with its settings, loss and samples."
HEADERS = ("Name", "Started", "Checkpoint", "Steps", "State", "Lowest fixed-noise loss", "Chosen")
SHOWN = 50


class RunsTab:
    """A table of all runs, details of one, and the difference to another."""

    def __init__(self, workbench: Workbench, pictures: Pictures):
        self.workbench = workbench
        self.pictures = pictures
        self.runs = run_names(workbench)

    # -- components ---------------------------------------------------------------------------------------------------

    def build(self) -> None:
        self.table = panel("lw_runs_table", html.hint(NO_RUNS))
        with gr.Row(elem_classes=["lw-fields"]):
            self.run = gr.Dropdown(
                choices=self.runs(), value=None, label="Run", elem_id="lw_runs_run", interactive=True
            )
            self.other = gr.Dropdown(
                choices=self.runs(), value=None, label="Compare with run", elem_id="lw_runs_other", interactive=True
            )
        with gr.Row(elem_classes=["lw-actions"]):
            self.open = gr.Button("Open", variant="primary", elem_id="lw_runs_open")
            self.compare = gr.Button("Compare both", elem_id="lw_runs_compare")
            self.resume = gr.Button("Continue training", elem_id="lw_runs_continue")
            self.grid = gr.Button("Epoch grid of this run →", elem_id="lw_runs_grid")
            self.delete = gr.Button("Delete …", elem_id="lw_runs_delete")
        with gr.Row(visible=False, elem_id="lw_runs_confirm", elem_classes=["lw-actions"]) as self.confirm:
            self.question = panel("lw_runs_question")
            self.yes = gr.Button("Delete this run", variant="stop", elem_id="lw_runs_yes")
            self.no = gr.Button("Keep it", elem_id="lw_runs_no")
        self.message = panel("lw_runs_message")
        self.details = panel("lw_runs_details")

    # -- events -------------------------------------------------------------------------------------------------------

    def connect(self, poller: Poller, tabs: gr.Tabs, grid_run: gr.Dropdown) -> None:
        act(self.open.click, self.show, [self.run], self.message, [self.details])
        act(self.compare.click, self.show_both, [self.run, self.other], self.message, [self.details])
        act(self.resume.click, self.go_on, [self.run], self.message)
        act(self.grid.click, self.to_grid, [self.run], self.message, [tabs, grid_run])
        act(self.delete.click, self.ask, [self.run], self.message, [self.confirm, self.question])
        act(self.no.click, lambda: ["", gr.update(visible=False)], [], self.message, [self.confirm])
        act(self.yes.click, self.remove, [self.run], self.message, [self.confirm, self.details])
        poller.keep(self.now, [self.table, self.run, self.other], [self.run, self.other])

    def show(self, run_id: str | None) -> list[Any]:
        run = self._run(run_id)
        changed = [row for row in setting_rows(run) if row[1] != row[2]]
        parts = [
            f'<p class="lw-prompt">{html.escape(run.id)}</p>',
            loss_of(run) or html.hint("No step was recorded."),
            sample_strip(sorted(Path(run.samples).glob("*.png")), self.pictures),
            html.table(["Setting", "Value", "Default"], changed),
        ]
        return ["", "".join(parts)]

    def show_both(self, run_id: str | None, other_id: str | None) -> list[Any]:
        run, other = self._run(run_id), self._run(other_id)
        if run.id == other.id:
            raise UserError("This is the same run twice", where="Compare with run", fix="Choose another one")
        ours, theirs = asdict(run.config()), asdict(other.config())
        rows = [(f.metadata["label"], ours[n], theirs[n]) for n, f in settings().items() if ours[n] != theirs[n]]
        chart = two_runs_chart((run.id, losses(run)), (other.id, losses(other)))
        same = html.message("Both have the same settings.")
        return ["", chart + (html.table(["Setting", run.id, other.id], rows) if rows else same)]

    def go_on(self, run_id: str | None) -> str:
        self.workbench.resume(self._run(run_id).id)
        return html.message("Goes on from its last saved step; see Train.", html.GOOD)

    def to_grid(self, run_id: str | None) -> list[Any]:
        return ["", gr.update(selected="grid"), gr.update(value=self._run(run_id).id)]

    def ask(self, run_id: str | None) -> list[Any]:
        run = self._run(run_id)
        text = f"Delete the run {run.id}? Its LoRA files stay. The run goes to {self.workbench.runs.folder / '.trash'}."
        return ["", gr.update(visible=True), html.message(text, html.WARNING)]

    def remove(self, run_id: str | None) -> list[Any]:
        place = self.workbench.delete_run(self._run(run_id).id)
        return [html.message(f"Moved to {place}.", html.GOOD), gr.update(visible=False), ""]

    # -- what is shown ------------------------------------------------------------------------------------------------

    def now(self, run_id: str | None, other_id: str | None) -> list[Any]:
        names = self.runs()
        rows = [row for name in names[:SHOWN] if (row := self._row(name))]
        marked = [i for i, name in enumerate(names[:SHOWN]) if name == run_id]
        table = html.table(HEADERS, rows, marked=marked) if rows else html.hint(NO_RUNS)
        return [table, choices(names, run_id), choices(names, other_id, first=False)]

    def _row(self, name: str) -> list[str] | None:
        try:
            run = self.workbench.runs.open(name)
            epochs = run.epochs()
        except UserError:
            return None  # deleted a moment ago
        losses = [row["fixed_loss"] for row in epochs if row["fixed_loss"] is not None]
        chosen = run.chosen()
        steps = run.result().get("step") or max((row["step"] for row in epochs), default=0)
        return [
            run.config().name,
            time.strftime("%Y-%m-%d %H:%M", time.localtime(run.record.created)),
            run.record.model,
            str(steps),
            self._state(run),
            f"{min(losses):.4f}" if losses else "",
            f"epoch {chosen['epoch']} at {chosen['weight']:g}" if chosen else "",
        ]

    def _state(self, run: Run) -> str:
        """A run without a result is being trained if a job says so, else it was cut off."""
        active = {job.data.get("run"): job.state for job in self.workbench.queue.jobs() if not job.ended}
        return active.get(run.id) or run.status

    def _run(self, run_id: str | None) -> Run:
        if not run_id:
            raise UserError("No run is chosen", where="Run", fix="Choose one from the list")
        return self.workbench.runs.open(run_id)


def setting_rows(run: Run) -> list[tuple[str, Any, Any]]:
    """Label, value and default of every setting."""
    values = asdict(run.config())
    return [(f.metadata["label"], values[name], f.default) for name, f in settings().items()]
