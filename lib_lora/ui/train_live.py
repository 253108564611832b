"""The running training: where it is, its loss, its samples, and what can be asked of it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from lib_lora.access import changes, looks
from lib_lora.errors import UserError
from lib_lora.jobs.views import PAUSED, PREPARING, SAMPLING, WAITING, TrainView
from lib_lora.training.run import Run
from lib_lora.ui import html
from lib_lora.ui.actions import NO_MESSAGE, act, panel
from lib_lora.ui.compat import SKIP
from lib_lora.ui.files import Pictures
from lib_lora.ui.job_view import of_type
from lib_lora.ui.poll import Poller
from lib_lora.ui.run_view import best_epoch, loss_of, sample_strip, warnings_of
from lib_lora.ui.status import speed
from lib_lora.workbench import Workbench

EMPTY = "The loss curve and the sample images will appear here while it trains. It begins with pictures."
ASKED = {
    "save": "A LoRA file is written after this step; training goes on.",
    "sample": "The sample prompts are drawn after this step; training goes on.",
    "backup": "The progress is copied after this step; go back to it under Runs.",
}


class LivePanel:
    """Shows the newest training of this process, so a reload loses nothing."""

    def __init__(self, workbench: Workbench, pictures: Pictures):
        self.workbench = workbench
        self.pictures = pictures

    def build(self) -> None:
        self.live = panel("lw_train_live", html.hint(EMPTY, "Open a set of pictures", "Dataset"))
        with gr.Row(elem_classes=["lw-actions", "lw-small"], visible=False) as self.controls:
            self.pause = gr.Button("Pause training", elem_id="lw_train_pause", size="sm")
            self.save = gr.Button("Save now", elem_id="lw_train_save", size="sm")
            self.sample = gr.Button("Sample now", elem_id="lw_train_sample", size="sm")
            self.backup = gr.Button("Back up now", elem_id="lw_train_backup", size="sm")
            self.stop_save = gr.Button("Stop and save", elem_id="lw_train_stop_save", size="sm")
            self.stop = gr.Button("Stop training", elem_id="lw_train_stop", size="sm")
        with gr.Row(elem_classes=["lw-actions"]):
            self.compare = gr.Button("Compare the epochs →", elem_id="lw_train_compare", visible=False)

    def connect(self, poller: Poller, message: gr.HTML, tabs: gr.Tabs, grid_run: gr.Dropdown) -> None:
        act(self.pause.click, self.pause_or_go_on, [], message)
        act(self.save.click, partial(self.ask, "save"), [], message)
        act(self.sample.click, partial(self.ask, "sample"), [], message)
        act(self.backup.click, partial(self.ask, "backup"), [], message)
        act(self.stop_save.click, partial(self.end, save=True), [], message)
        act(self.stop.click, partial(self.end, save=False), [], message)
        act(self.compare.click, self.to_grid, [], message, [tabs, grid_run])
        poller.keep(self.now, [self.live, self.pause, self.controls, self.compare])

    @changes
    def pause_or_go_on(self) -> str:
        job = self.job()
        if job is not None and not job.ended:
            (self.workbench.queue.resume if job.state == PAUSED else self.workbench.queue.pause)(job.id)
        return ""

    @changes
    def ask(self, what: str) -> str:
        self.workbench.request(self._running().id, what)
        return html.message(ASKED[what], html.GOOD)

    @changes
    def end(self, *, save: bool) -> str:
        self.workbench.queue.stop(self._running().id, save=save)
        text = "Stops after this step and writes a LoRA file." if save else "Stops after this step."
        return html.message(text + " It can be continued under Runs.", html.GOOD)

    @looks
    def to_grid(self) -> list[Any]:
        job = self.job()
        if job is None:
            return [NO_MESSAGE, SKIP, SKIP]
        return [NO_MESSAGE, gr.update(selected="grid"), gr.update(value=job.run)]

    # -- what is shown ------------------------------------------------------------------------------------------------

    def now(self) -> Sequence[Any]:
        """Live panel and its buttons."""
        job = self.job()
        hidden = gr.update(visible=False)
        if job is None:
            return [
                html.hint(EMPTY, "Open a set of pictures", "Dataset"),
                gr.update(value="Pause training"),
                hidden,
                hidden,
            ]
        try:
            saved = len(self.workbench.epoch_files(job.run))
            live = self._shown(job, self.workbench.runs.open(job.run))
        except UserError as error:  # the run was deleted meanwhile
            saved, live = 0, html.error_message(error)
        link = f"{html.plural(saved, 'epoch')} saved. Compare them in Epoch grid →"
        pause = gr.update(value="Go on" if job.state == PAUSED else "Pause training")
        return [live, pause, gr.update(visible=not job.ended), gr.update(visible=saved > 0, value=link)]

    def job(self) -> TrainView | None:
        """The training that is running, else the one that ran last, else the first that waits."""
        jobs = of_type(self.workbench.queue, TrainView)
        begun = [job for job in jobs if job.state != WAITING and not (job.ended and job.elapsed == 0)]
        return next(iter([*begun[::-1], *jobs]), None)

    def _shown(self, job: TrainView, run: Run) -> str:
        parts = [html.job_error(job.error)] if job.error else [where_it_is(job)]
        parts.append(warnings_of(run))
        parts.append(loss_of(run, f"Loss of {job.title}"))
        parts.append(best_epoch(run))
        parts.append(sample_strip(sorted(Path(run.samples).glob("*.png")), self.pictures))
        return "".join(parts)

    def _running(self) -> TrainView:
        job = self.job()
        if job is None or job.ended:
            raise UserError("Nothing is being trained", fix="Start a training first")
        return job


def where_it_is(job: TrainView) -> str:
    """``mira · step 412 of 1500 · epoch 3 of 10, loss 0.123 · 1.8 it/s · 9 min left, until about 14:05``."""
    facts = [job.note or job.state]
    if job.phase != PREPARING:
        loss = "" if job.loss is None else f", loss {job.loss:.3g}"
        facts = [f"step {job.done} of {job.total}", f"epoch {job.epoch} of {job.epochs}{loss}"]
    if job.phase == SAMPLING and not job.ended:
        facts.append("drawing sample images")
    if job.state == PAUSED:
        facts.append("paused")
    elif job.remaining is not None:
        end = time.strftime("%H:%M", time.localtime(time.time() + job.remaining))
        facts += [speed(job), f"{html.duration(job.remaining)} left, until about {end}"]
    elif job.ended:
        facts.append(f"{job.state} after {html.duration(job.elapsed)}")
    return f'<p class="lw-where"><b>{escape(job.title)}</b> {escape(" · ".join(filter(None, facts)))}</p>'
