"""Runs: what was trained, how it went, what differed, and how to go on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr

from lib_lora.access import changes, looks
from lib_lora.errors import UserError
from lib_lora.jobs.views import TrainView
from lib_lora.training.continuation import rate_jump, steps_per_epoch
from lib_lora.training.run import Run
from lib_lora.training.state import StateSlots
from lib_lora.ui import html
from lib_lora.ui.actions import NO_MESSAGE, act, panel
from lib_lora.ui.charts import COLOURS
from lib_lora.ui.choices import choices, run_names
from lib_lora.ui.compat import SKIP
from lib_lora.ui.files import Pictures
from lib_lora.ui.form import SettingsForm
from lib_lora.ui.job_view import of_type
from lib_lora.ui.merge_tab import MergeTab
from lib_lora.ui.mixture_panel import MixturePanel
from lib_lora.ui.poll import Poller
from lib_lora.ui.run_details import comparison, details
from lib_lora.ui.runs_table import BACK, PICK, ROW, RunsTable
from lib_lora.workbench import Workbench

NO_RUNS = "No run yet. Every training appears here with its settings, loss and samples."


class RunsTab:
    """A table of all runs, the one that is open, and the difference between several."""

    def __init__(self, workbench: Workbench, pictures: Pictures):
        self.workbench = workbench
        self.pictures = pictures
        self.runs = run_names(workbench)
        self.rows = RunsTable(workbench.runs, pictures)
        self.mixture = MixturePanel(workbench)
        self._drawn: tuple[Any, str] = (None, "")  # what the details were made of, and the details

    # -- components ---------------------------------------------------------------------------------------------------

    def build(self) -> None:
        """The table of runs, and below it the one that was clicked."""
        self.table = panel("lw_runs_table", html.hint(NO_RUNS, "Train a LoRA", "Train"))
        self.pick = gr.Textbox("", label="Clicked run", elem_id=PICK, elem_classes=["lw-hidden"])
        self.row = gr.Textbox("", label="Button of a run", elem_id=ROW, elem_classes=["lw-hidden"])
        self.back = gr.Textbox("", label="Step to go back to", elem_id=BACK, elem_classes=["lw-hidden"])
        self.opened = gr.Textbox("", label="Open run", elem_id="lw_runs_opened", elem_classes=["lw-hidden"])
        names = self.runs()
        with gr.Row(elem_classes=["lw-fields"]):
            self.run = gr.Dropdown(
                choices=names, value=None, label="Run", elem_id="lw_runs_run", interactive=True, allow_custom_value=True
            )
            self.others = gr.Dropdown(
                choices=names,
                value=[],
                multiselect=True,
                label="Compare with runs",
                elem_id="lw_runs_other",
                interactive=True,
            )
        with gr.Row(elem_classes=["lw-actions", "lw-small"]):
            self.open = gr.Button("Open", variant="primary", elem_id="lw_runs_open", size="sm")
            self.compare = gr.Button("Compare", elem_id="lw_runs_compare", size="sm")
            self.grid = gr.Button("Epoch grid →", elem_id="lw_runs_grid", size="sm")
            self.duplicate = gr.Button("Use its settings →", elem_id="lw_runs_duplicate", size="sm")
            self.delete = gr.Button("Delete …", elem_id="lw_runs_delete", size="sm")
        with gr.Row(elem_classes=["lw-actions", "lw-small"]):
            self.more = gr.Number(
                value=5, precision=0, label="More epochs", elem_id="lw_runs_more", scale=0, min_width=160,
            )  # fmt: skip
            self.resume = gr.Button("Continue training", elem_id="lw_runs_continue", size="sm")
        self.mixture.build()
        with gr.Row(visible=False, elem_id="lw_runs_confirm", elem_classes=["lw-actions"]) as self.confirm:
            self.question = panel("lw_runs_question")
            self.yes = gr.Button("Delete this run", variant="stop", elem_id="lw_runs_yes")
            self.no = gr.Button("Keep it", elem_id="lw_runs_no")
        self.message = panel("lw_runs_message")
        self.compared = panel("lw_runs_compared")
        with gr.Row(visible=False, elem_classes=["lw-fields", "lw-tight"]) as self.notes_row:
            self.notes = gr.Textbox(
                value="", label="Notes on this run", lines=2, elem_id="lw_runs_notes", scale=5, interactive=True
            )
            self.keep_notes = gr.Button("Save notes", elem_id="lw_runs_save_notes", size="sm", scale=1)
        self.details = panel("lw_runs_details")

    # -- events -------------------------------------------------------------------------------------------------------

    def connect(
        self, poller: Poller, tabs: gr.Tabs, grid_run: gr.Dropdown, form: SettingsForm, form_message: gr.HTML,
        merge: MergeTab,
    ) -> None:  # fmt: skip
        """``grid_run``: the run of the epoch grid; ``form``: the settings of the Train tab, with its message line."""
        self.mixture.connect(poller, self.opened, tabs, merge.ways, merge.formula)
        self.form = form
        shown = [self.opened, self.run, self.details, self.notes, self.notes_row, self.compared]
        act(self.open.click, self.show, [self.run], self.message, shown)
        act(self.pick.change, self.follow, [self.pick], self.message, shown)
        there = [tabs, form_message, *form.inputs]
        asked = [*shown, self.confirm, self.question, self.others]
        done = act(self.row.change, self.do, [self.row, self.others, self.more], self.message, [*asked, *there])
        form.filled(done)
        act(self.back.change, self.return_to, [self.back], self.message, shown)
        act(self.compare.click, self.show_several, [self.run, self.others], self.message, [self.compared])
        act(self.resume.click, self.go_on, [self.opened, self.more], self.message)
        act(self.grid.click, self.to_grid, [self.opened], self.message, [tabs, grid_run])
        form.filled(act(self.duplicate.click, self.to_form, [self.opened], self.message, there))
        act(self.delete.click, self.ask, [self.opened], self.message, [self.confirm, self.question])
        act(self.no.click, self.keep, [], self.message, [self.confirm])
        act(self.yes.click, self.remove, [self.opened], self.message, [self.confirm, *shown])
        act(self.keep_notes.click, self.write_notes, [self.opened, self.notes], self.message)
        act(self.notes.blur, self.write_notes, [self.opened, self.notes], self.message)
        poller.keep(self.now, [self.table, self.run, self.others], [self.run, self.others])
        poller.keep(lambda run_id: [self.details_of(run_id)], [self.details], [self.opened])
        poller.keep(self.what_comes, [self.resume], [self.opened, self.more])

    @looks
    def show(self, run_id: str | None) -> list[Any]:
        """Details of a run."""
        run = self._run(run_id)
        visible = gr.update(visible=True)
        return [NO_MESSAGE, run.id, gr.update(value=run.id), self.details_of(run.id), run.notes().strip(), visible, ""]

    @looks
    def follow(self, pick: str) -> list[Any]:
        """``open:RUN``, followed by the time of the click; gradio also says when it empties the field."""
        run_id = pick.rpartition("|")[0].partition(":")[2]
        return self.show(run_id) if run_id in self.runs() else [NO_MESSAGE, *[SKIP] * 6]

    @changes
    def do(self, pick: str, other_ids: list[str] | None, more: float | None) -> list[Any]:
        """A button in a row: ``compare``, ``continue``, ``settings`` or ``delete``, then ``:RUN`` and the time.

        The run is opened too, so that what is said stands beside what it is about.
        """
        verb, _, run_id = pick.rpartition("|")[0].partition(":")
        if run_id not in self.runs():
            return [NO_MESSAGE, *[SKIP] * (11 + len(self.form.inputs))]
        message, *opened = self.show(run_id)
        asked, there = [SKIP, SKIP, SKIP], [SKIP] * (2 + len(self.form.inputs))
        if verb == "compare":
            ids = list(dict.fromkeys([*(other_ids or []), run_id]))
            opened[-1] = comparison([self._run(name) for name in ids[-COLOURS:]]) if len(ids) > 1 else ""
            message = "" if len(ids) > 1 else html.message("Press Compare in the rows of others too; up to six.")
            asked[2] = gr.update(value=ids[-COLOURS:])
        elif verb == "continue":
            message = self.go_on(run_id, more)
        elif verb == "settings":
            message, *there = self.to_form(run_id)
        elif verb == "delete":
            message, *asked[:2] = self.ask(run_id)
        return [message, *opened, *asked, *there]

    @changes
    def return_to(self, pick: str) -> list[Any]:
        """``back:RUN:STEP``, followed by the time of the click."""
        run_id, _, step = pick.rpartition("|")[0].partition(":")[2].rpartition(":")
        if run_id not in self.runs():
            return [NO_MESSAGE, *[SKIP] * 6]
        self.workbench.go_back(run_id, int(step))
        text = f"The run stands at step {step} again; what it had is kept as a backup. Continue training goes on there."
        return [html.message(text, html.GOOD), *self.show(run_id)[1:]]

    @looks
    def show_several(self, run_id: str | None, other_ids: list[str] | None) -> list[Any]:
        """Runs side by side; UserError for fewer than two."""
        ids = list(dict.fromkeys([self._run(run_id).id, *(other_ids or [])]))
        if len(ids) < 2:
            raise UserError(
                "One run cannot be compared", where="Compare with runs", fix="Choose at least one other run"
            )
        if len(ids) > COLOURS:
            raise UserError(f"{len(ids)} runs are too many for one picture", fix=f"Choose at most {COLOURS}")
        return [NO_MESSAGE, comparison([self._run(name) for name in ids])]

    @changes
    def go_on(self, run_id: str | None, more: float | None) -> str:
        """Resume a run that was cut off; train a finished one for ``more`` epochs."""
        run = self._run(run_id)
        if run.status != "finished":
            kept = StateSlots(run.state).last_step()
            self.workbench.resume(run.id)
            text = "Goes on from its last saved step; see Train." if kept else "Starts again from step 0; see Train."
            return html.until_idle(text)
        count, config = int(more or 0), run.config()
        end, begin = rate_jump(config, max(1, count), run.result()["step"], steps_per_epoch(run))
        self.workbench.extend(run.id, count)
        text = f"{html.plural(count, 'more epoch')}; see Train."
        if begin > 1.05 * end:
            text += (
                f" The {config.schedule} schedule now ends later: the rate goes on at {begin:.0%}, it was {end:.0%}."
            )
        return html.until_idle(text)

    @looks
    def to_grid(self, run_id: str | None) -> list[Any]:
        """Its epochs in Epoch grid."""
        return [NO_MESSAGE, gr.update(selected="grid"), gr.update(value=self._run(run_id).id)]

    @looks
    def to_form(self, run_id: str | None) -> list[Any]:
        """The settings of a run in the Train tab, under a name that is free."""
        config = self._run(run_id).config()
        copy = replace(config, name=self.workbench.free_name(config.name))
        text = f"These are the settings of {config.name}, under a new name."
        return [NO_MESSAGE, gr.update(selected="train"), html.message(text), *self.form.values(copy)]

    @changes
    def write_notes(self, run_id: str | None, text: str | None) -> str:
        """Keep the notes; nothing where they are the same."""
        if not run_id:
            return ""
        run = self._run(run_id)
        if run.notes().strip() == (text or "").strip():
            return ""
        run.set_notes(text or "")
        return html.message("Notes saved.", html.GOOD)

    @looks
    def ask(self, run_id: str | None) -> list[Any]:
        """Whether the run shall really go."""
        run = self._run(run_id)
        text = f"Delete the run {run.id}? Its LoRA files stay. The run goes to {self.workbench.runs.folder / '.trash'}."
        return [NO_MESSAGE, gr.update(visible=True), html.message(text, html.WARNING)]

    @looks
    def keep(self) -> list[Any]:
        """It shall not."""
        return [NO_MESSAGE, gr.update(visible=False)]

    @changes
    def remove(self, run_id: str | None) -> list[Any]:
        """Move it to the trash; its LoRA files stay."""
        place = self.workbench.delete_run(self._run(run_id).id)
        hidden = gr.update(visible=False)
        return [html.message(f"Moved to {place}.", html.GOOD), hidden, "", SKIP, "", "", hidden, ""]

    # -- what is shown ------------------------------------------------------------------------------------------------

    def what_comes(self, run_id: str | None, more: float | None) -> list[Any]:
        """The button that continues the open run says what it will do."""
        if not run_id or run_id not in self.runs() or run_id in self._active():
            return [gr.update(value="Continue training", interactive=False)]
        run = self.workbench.runs.open(run_id)
        if run.status != "finished":
            kept = StateSlots(run.state).last_step()  # a run that was cut off came further than its progress was saved
            name = run.config().name
            text = f"Continue {name} from step {kept}" if kept else f"Start {name} again"
            return [gr.update(value=text, interactive=True)]
        last = run.config().epochs
        text = f"Train {run.config().name} on, from epoch {last} to {last + max(1, int(more or 0))}"
        return [gr.update(value=text, interactive=True)]

    def now(self, run_id: str | None, other_ids: list[str] | None) -> list[Any]:
        """The table, and choices of runs to compare with."""
        names = self.runs()
        table = self.rows.draw(names, self._active(), run_id)
        known = [name for name in other_ids or [] if name in names]
        others = gr.update(choices=names) if known == (other_ids or []) else gr.update(choices=names, value=known)
        return [table or html.hint(NO_RUNS, "Train a LoRA", "Train"), choices(names, run_id), others]

    def details_of(self, run_id: str | None) -> str:
        """The open run, drawn anew only when something changed in its folder."""
        if not run_id or run_id not in self.runs():
            return ""
        run = self.workbench.runs.open(run_id)
        places = (run.folder, run.samples, run.folder / "backups", run.folder / "metrics.jsonl")
        key = (run_id, self._active().get(run_id), [_modified(place) for place in places], _modified(_sheet(run)))
        if self._drawn[0] != key:
            self._drawn = (key, details(run, self._active().get(run_id), self.pictures))
        return self._drawn[1]

    def _active(self) -> dict[str, str]:
        """Run id -> state of the job that trains it or waits to."""
        return {job.run: job.state for job in of_type(self.workbench.queue, TrainView) if not job.ended}

    def _run(self, run_id: str | None) -> Run:
        if not run_id:
            raise UserError("No run is open", fix="Click its name in the table first")
        return self.workbench.runs.open(run_id)


def _sheet(run: Run) -> Path:
    return Path(run.sweep().get("grid") or run.folder) / "grid.png"


def _modified(path: Path) -> int:
    return path.stat().st_mtime_ns if path.exists() else 0
