"""Train: choose, check, start, watch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from lib_lora.errors import UserError
from lib_lora.jobs.job import JobView
from lib_lora.training.config import TrainConfig
from lib_lora.training.presets import PRESETS
from lib_lora.training.presets import preset as preset_named
from lib_lora.training.run_store import Run
from lib_lora.ui import form, html
from lib_lora.ui.actions import act, panel
from lib_lora.ui.check_panel import check_panel
from lib_lora.ui.compat import SKIP, listen
from lib_lora.ui.files import Pictures
from lib_lora.ui.form import SettingsForm
from lib_lora.ui.poll import Poller
from lib_lora.ui.run_view import loss_of, sample_strip
from lib_lora.workbench import Workbench

EMPTY = "The loss curve and the sample images will appear here while it trains."


class TrainTab:
    """A form on the left of the work, what comes of it below."""

    def __init__(self, workbench: Workbench, pictures: Pictures):
        self.workbench = workbench
        self.pictures = pictures
        self.form = SettingsForm()

    # -- components ---------------------------------------------------------------------------------------------------

    def build(self) -> None:
        first = PRESETS[self._first_preset()]
        start = first.applied_to(TrainConfig())
        with gr.Row(elem_classes=["lw-fields"]):
            with gr.Column(scale=3, min_width=280):
                self.form.basic("data_dir", start)
            with gr.Column(scale=2, min_width=200):
                self.form.basic("name", start)
        with gr.Row(elem_classes=["lw-fields"]):
            self.form.basic("trigger", start)
            self.preset = gr.Dropdown(
                choices=[p.name for p in PRESETS],
                value=first.name,
                label="Preset",
                info=first.why,
                elem_id="lw_train_preset",
                interactive=True,
            )
            self.form.basic("epochs", start)
        with gr.Accordion("More settings", open=False, elem_id="lw_train_more"):
            self.form.more(start)
        self.changes = panel("lw_train_changes", form.marks({}))
        with gr.Row(elem_classes=["lw-actions"]):
            self.check = gr.Button("Check", elem_id="lw_train_check")
            self.start = gr.Button("Start training", variant="primary", elem_id="lw_train_start")
            self.queue = gr.Button("Add to queue", elem_id="lw_train_queue")
        self.message = panel("lw_train_message")
        self.fault = panel("lw_train_fault")
        self.report = panel("lw_train_report")
        self._build_live()

    def _build_live(self) -> None:
        self.live = panel("lw_train_live", html.hint(EMPTY))
        with gr.Row(elem_classes=["lw-actions"], visible=False) as self.controls:
            self.pause = gr.Button("Pause training", elem_id="lw_train_pause")
            self.save = gr.Button("Save now", elem_id="lw_train_save")
            self.stop_save = gr.Button("Stop and save", elem_id="lw_train_stop_save")
            self.stop = gr.Button("Stop training", elem_id="lw_train_stop")
        with gr.Row(elem_classes=["lw-actions"]):
            self.compare = gr.Button("Compare the epochs →", elem_id="lw_train_compare", visible=False)

    # -- events -------------------------------------------------------------------------------------------------------

    def connect(self, page: gr.Blocks, poller: Poller, tabs: gr.Tabs, grid_run: gr.Dropdown) -> None:
        """``grid_run``: the run that the epoch grid shows; the link to it carries ours along."""
        self.form.connect(self._baseline, self.preset, self.changes)
        listen(self.preset.change, lambda name: gr.update(info=preset_named(name).why), [self.preset], [self.preset])
        values = self.form.inputs
        listen(page.load, self.last_settings, [], values)
        act(
            self.check.click,
            self._guard(self.run_check),
            values,
            self.message,
            [self.fault, self.report],
            busy="Checking: reading the folder and timing one step …",
        )
        act(self.start.click, self._guard(self.run_start), values, self.message, [self.fault, self.report])
        act(self.queue.click, self._guard(self.run_queue), values, self.message, [self.fault, self.report])
        act(self.pause.click, self.pause_or_go_on, [], self.message)
        act(self.save.click, self.save_now, [], self.message)
        act(self.stop_save.click, lambda: self.end(save=True), [], self.message)
        act(self.stop.click, lambda: self.end(save=False), [], self.message)
        act(self.compare.click, self.to_grid, [], self.message, [tabs, grid_run])
        poller.keep(self.now, [self.live, self.pause, self.controls, self.compare])

    def run_check(self, *values: Any) -> list[Any]:
        return ["", "", check_panel(self.workbench.check(self.form.config(values)))]

    def run_start(self, *values: Any) -> list[Any]:
        current = self.workbench.queue.current()
        if current is not None:
            raise UserError(f"{current.title} is running", fix="Use “Add to queue” to start after it")
        self.workbench.start_training(self.form.config(values))
        return [html.message("Started. You can close this page, training goes on.", html.GOOD), "", ""]

    def run_queue(self, *values: Any) -> list[Any]:
        job = self.workbench.queue.view(self.workbench.start_training(self.form.config(values)))
        before = sum(not other.ended for other in self.workbench.queue.jobs()) - 1
        text = f"{job.title} is in the queue, {html.plural(before, 'job')} before it." if before else "Started."
        return [html.message(text, html.GOOD), "", ""]

    def pause_or_go_on(self) -> str:
        job = self._job()
        if job is not None and not job.ended:
            (self.workbench.queue.resume if job.state == "paused" else self.workbench.queue.pause)(job.id)
        return ""

    def save_now(self) -> str:
        job = self._job()
        if job is None or job.ended:
            raise UserError("Nothing is being trained")
        self.workbench.request(job.id, "save")
        return html.message("A file is written after this step; training goes on.", html.GOOD)

    def end(self, *, save: bool) -> str:
        job = self._job()
        if job is None or job.ended:
            raise UserError("Nothing is being trained")
        self.workbench.queue.stop(job.id, save=save)
        text = "Stops after this step and writes a LoRA file." if save else "Stops after this step."
        return html.message(text + " It can be continued under Runs.", html.GOOD)

    def to_grid(self) -> list[Any]:
        job = self._job()
        if job is None:
            return ["", SKIP, SKIP]
        return ["", gr.update(selected="grid"), gr.update(value=job.data["run"])]

    # -- what is shown ------------------------------------------------------------------------------------------------

    def now(self) -> Sequence[Any]:
        """Live panel and its buttons, from the newest training of this process."""
        job = self._job()
        hidden = gr.update(visible=False)
        if job is None:
            return [html.hint(EMPTY), gr.update(value="Pause training"), hidden, hidden]
        try:
            saved = len(self.workbench.epoch_files(job.data["run"]))
            live = self._live(job, self.workbench.runs.open(job.data["run"]))
        except UserError as error:  # the run was deleted meanwhile
            saved, live = 0, html.error_message(error)
        link = f"{html.plural(saved, 'epoch')} saved. Compare them in Epoch grid →"
        pause = gr.update(value="Go on" if job.state == "paused" else "Pause training")
        return [live, pause, gr.update(visible=not job.ended), gr.update(visible=saved > 0, value=link)]

    def _live(self, job: JobView, run: Run) -> str:
        title = f"Loss of {job.title}"
        parts = [html.job_error(job.error)] if job.error else []
        parts.append(loss_of(run, title) or html.hint(f"{job.title}: {job.note or job.state} …"))
        parts.append(sample_strip(sorted(Path(run.samples).glob("*.png")), self.pictures))
        return "".join(parts)

    def last_settings(self) -> list[Any]:
        """Fields of the newest training of this process, so that a reload keeps them."""
        job = self._job()
        try:
            config = self.workbench.runs.open(job.data["run"]).config() if job else None
        except UserError:
            config = None
        return self.form.values(config) if config else [SKIP] * len(self.form.names)

    # -- small parts --------------------------------------------------------------------------------------------------

    def _guard(self, fn: Any) -> Any:
        """A mistake in a field is shown at the field as well."""

        def run(*values: Any) -> list[Any]:
            try:
                return fn(*values)
            except UserError as error:
                return [html.error_message(error), form.fault(error), SKIP]

        return run

    def _job(self) -> JobView | None:
        """The training that is running, else the one that ran last, else the first that waits."""
        jobs = [job for job in self.workbench.queue.jobs() if job.kind == "train"]
        begun = [job for job in jobs if job.state != "waiting" and not (job.ended and job.elapsed == 0)]
        return next(iter([*begun[::-1], *jobs]), None)

    def _baseline(self, preset: str) -> TrainConfig:
        return preset_named(preset).applied_to(TrainConfig())

    def _first_preset(self) -> int:
        """The miniature model has a preset of its own; it is recognised by its name."""
        info = self.workbench.host.info()
        return next(
            (i for i, p in enumerate(PRESETS) if info and info.name.lower().startswith("mini") and "Mini" in p.name), 0
        )
