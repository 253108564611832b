"""The best mixture of the epochs of the run that is open under Runs."""

from __future__ import annotations

from typing import Any

import gradio as gr

from lib_lora.access import changes, looks
from lib_lora.errors import UserError
from lib_lora.jobs.views import MixtureView
from lib_lora.tools.mixture import Mixture
from lib_lora.ui import html
from lib_lora.ui.actions import NO_MESSAGE, act, panel
from lib_lora.ui.job_view import newest, of_type, progress
from lib_lora.ui.merge_formula import FormulaPanel
from lib_lora.ui.poll import Poller
from lib_lora.workbench import Workbench
from lib_lora.workbench.revisit import find_mixture, mixture_formula, mixture_of


class MixturePanel:
    """Looks for it, and carries it to Merge; what was found stands below the buttons."""

    def __init__(self, workbench: Workbench):
        self.workbench = workbench

    def build(self) -> None:
        """Buttons below a run."""
        with gr.Row(elem_classes=["lw-actions", "lw-small"]):
            self.find = gr.Button("Best mixture of its epochs", elem_id="lw_runs_mixture", size="sm")
            self.use = gr.Button("Use the mixture in Merge →", elem_id="lw_runs_use_mixture", size="sm")
        self.message = panel("lw_runs_mixture_message")
        self.progress = panel("lw_runs_mixture_progress")

    def connect(self, poller: Poller, opened: Any, tabs: gr.Tabs, ways: gr.Tabs, merge: FormulaPanel) -> None:
        """``opened``: the id of the open run; ``ways``: Merge's own tabs."""
        self.merge = merge
        act(self.find.click, self.start, [opened], self.message)
        filled = [tabs, ways, merge.formula, *merge.filled]
        act(self.use.click, self.to_merge, [opened, merge.shown], self.message, filled)
        poller.keep(self.now, [self.progress], [opened])

    @changes
    def start(self, run_id: str | None) -> str:
        """Queue the search for the best mixture of a run's epochs."""
        find_mixture(self.workbench, _opened(run_id))
        return ""

    @looks
    def to_merge(self, run_id: str | None, shown: int) -> list[Any]:
        """Its epochs as the terms of a formula, in view."""
        formula = mixture_formula(self.workbench, _opened(run_id))
        _, *cells = self.merge.fill_rows(formula, shown)
        return [NO_MESSAGE, gr.update(selected="merge"), gr.update(selected="formula"), formula, *cells]

    def now(self, run_id: str | None) -> list[Any]:
        """Progress of the search in that run, then what it found."""
        job = newest([job for job in of_type(self.workbench.queue, MixtureView) if job.run == run_id])
        if job is not None and (job.error or not job.ended):
            return [progress(job, cancels=True)]
        try:
            found = mixture_of(self.workbench.runs.open(run_id)) if run_id else None
        except UserError:  # it was deleted meanwhile
            found = None
        return [told(found) if found else progress(job)]


def told(found: Mixture) -> str:
    """A mixture beside the best epoch, in words."""
    if found.alone:
        return html.message(f"No mixture of epochs has a lower loss on held-out images than epoch {found.best}.")
    parts = " + ".join(f"{weight:g} × epoch {epoch}" for epoch, weight in found.weights.items())
    alone = f"epoch {found.best} alone has {found.best_loss:.4g}"
    error = f"and its standard error {found.error:.2g}"
    lines = [
        html.message(f"Best mixture: {parts}"),
        html.message(f"Its loss on held-out images is {found.loss:.4g}; {alone}"),
        html.message(f"Gain on {found.pictures} images that had no part in choosing it: {found.gain:.2g}, {error}"),
    ]
    if not found.clear:
        lines.append(html.message("This gain may be chance; compare the pictures."))
    return "".join(lines)


def _opened(run_id: str | None) -> str:
    if not run_id:
        raise UserError("No run is open", fix="Click its name in the table first")
    return run_id
