"""The running training: where it is, its loss, its samples, and what can be asked of it; else what there is to see."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from html import escape
from typing import Any

import gradio as gr
import torch

from lib_lora.access import changes, guarded, looks
from lib_lora.errors import UserError
from lib_lora.jobs.views import FAILED, PAUSED, PREPARING, SAMPLING, TRAINING, WAITING, TrainView
from lib_lora.models.memory import process_memory
from lib_lora.training.run import Run
from lib_lora.ui import html
from lib_lora.ui.actions import NO_MESSAGE, act, panel
from lib_lora.ui.compat import SKIP
from lib_lora.ui.files import Pictures
from lib_lora.ui.job_view import of_type
from lib_lora.ui.poll import Poller
from lib_lora.ui.run_log import run_log
from lib_lora.ui.run_matrix import sample_matrix
from lib_lora.ui.run_view import best_epoch, damage_of, loss_of, lowest_epoch
from lib_lora.ui.runs_table import FAILED_EARLY, state_of
from lib_lora.ui.status import speed
from lib_lora.ui.train_before import Before
from lib_lora.workbench import Workbench

DOING = {PREPARING: "preparing", TRAINING: "training", SAMPLING: "drawing samples"}
ASKED = {
    "save": "A LoRA file is written after this step; training goes on.",
    "sample": "The sample prompts are drawn after this step; training goes on.",
    "backup": "The progress is copied after this step; go back to it under Runs.",
}


class LivePanel:
    """Shows the newest training of this process, so a reload loses nothing; after a restart the last run."""

    def __init__(self, workbench: Workbench, pictures: Pictures):
        self.workbench = workbench
        self.pictures = pictures
        self.before = Before(workbench, pictures)
        self._known: tuple[Any, list[str]] = (None, [])  # what the pictures were drawn from, and they

    def build(self) -> None:
        """Loss, samples and buttons of the run that trains; before, of the set's last one."""
        self.live = panel("lw_train_live", self.before.view(""))
        with gr.Row(elem_classes=["lw-actions", "lw-small"], visible=False) as self.controls:
            self.pause = gr.Button("Pause training", elem_id="lw_train_pause", size="sm")
            self.save = gr.Button("Save now", elem_id="lw_train_save", size="sm")
            self.sample = gr.Button("Sample now", elem_id="lw_train_sample", size="sm")
            self.backup = gr.Button("Back up now", elem_id="lw_train_backup", size="sm")
            self.stop_save = gr.Button("Stop and save", elem_id="lw_train_stop_save", size="sm")
            self.stop = gr.Button("Stop training", elem_id="lw_train_stop", size="sm")
        self.chart = panel("lw_train_chart")
        self.samples = panel("lw_train_samples")
        with gr.Row(elem_classes=["lw-actions"]):
            self.compare = gr.Button("Compare the epochs →", elem_id="lw_train_compare", visible=False)
        self.log = panel("lw_train_log")

    def connect(
        self, poller: Poller, message: gr.HTML, tabs: gr.Tabs, grid_run: gr.Dropdown, folder: gr.Textbox
    ) -> None:
        """``folder``: the set of the form."""
        act(self.pause.click, self.pause_or_go_on, [], message)
        act(self.save.click, partial(self.ask, "save"), [], message)
        act(self.sample.click, partial(self.ask, "sample"), [], message)
        act(self.backup.click, partial(self.ask, "backup"), [], message)
        act(self.stop_save.click, partial(self.end, save=True), [], message)
        act(self.stop.click, partial(self.end, save=False), [], message)
        act(self.compare.click, self.to_grid, [folder], message, [tabs, grid_run])
        shown = [self.live, self.chart, self.samples, self.log]
        poller.keep(guarded(self.now), [*shown, self.pause, self.controls, self.compare], [folder])

    @changes
    def pause_or_go_on(self) -> str:
        """Pause the training, or let it go on."""
        job = self.job()
        if job is not None and not job.ended:
            (self.workbench.queue.resume if job.state == PAUSED else self.workbench.queue.pause)(job.id)
        return ""

    @changes
    def ask(self, what: str) -> str:
        """Ask for a save, samples or a backup after the next step; ``what`` is a key of :data:`ASKED`."""
        self.workbench.request(self._running().id, what)
        return while_training(ASKED[what])

    @changes
    def end(self, *, save: bool) -> str:
        """Stop after this step; with ``save`` a LoRA is written."""
        self.workbench.queue.stop(self._running().id, save=save)
        text = "Stops after this step and writes a LoRA file." if save else "Stops after this step."
        return while_training(text + " It can be continued under Runs.")

    @looks
    def to_grid(self, folder: str = "") -> list[Any]:
        """The epochs of this run, or of the folder's last, in Epoch grid."""
        job, last = self.job(), self.before.last_run(folder)
        if job is None and last is None:
            return [NO_MESSAGE, SKIP, SKIP]
        return [NO_MESSAGE, gr.update(selected="grid"), gr.update(value=job.run if job else last[0].id)]

    # -- what is shown ------------------------------------------------------------------------------------------------

    @looks
    def now(self, folder: str = "") -> Sequence[Any]:
        """The dashboard and its buttons; parts that did not change are not sent."""
        job = self.job()
        if job is None:
            return self._before(folder)
        try:
            run = self.workbench.runs.open(job.run)
            saved = len(self.workbench.epoch_files(job.run))
            shown = [where_it_is(job), *self._drawn(job, run)]
        except UserError as error:  # the run was deleted meanwhile
            saved, shown = 0, [html.error_message(error), "", "", ""]
        pause = gr.update(value="Go on" if job.state == PAUSED else "Pause training")
        return [*shown, pause, gr.update(visible=not job.ended), _link(saved)]

    def _before(self, folder: str) -> Sequence[Any]:
        """What a program that has just been started shows: the last run of this set, else the set."""
        pause, hidden = gr.update(value="Pause training"), gr.update(visible=False)
        last = self.before.last_run(folder)
        if last is None:
            return [self.before.view(folder), "", "", "", pause, hidden, hidden]
        run, config = last
        facts = [("Step", str(run.steps)), ("Epoch", f"{len(run.epochs())} of {config.epochs}")]
        head = _where(config.name, state_of(run, None), facts)
        shown = [head, *self._of_disk(run, config.name, (run.id,), state_of(run, None), "")]
        return [*shown, pause, hidden, _link(len(self.workbench.epoch_files(run.id)))]

    def job(self) -> TrainView | None:
        """The training that is running, else the one that ran last, else the first that waits."""
        jobs = of_type(self.workbench.queue, TrainView)
        begun = [job for job in jobs if job.state != WAITING and not (job.ended and job.elapsed == 0)]
        return next(iter([*begun[::-1], *jobs]), None)

    def _drawn(self, job: TrainView, run: Run) -> list[str]:
        """Chart, samples and log of a job's run."""
        error = html.job_error(job.error) if job.error else ""
        state = "Paused" if job.state == PAUSED else "" if job.ended else DOING.get(job.phase, "").capitalize()
        return self._of_disk(run, job.title, (job.run, job.state, job.phase, error), state, error)

    def _of_disk(self, run: Run, title: str, told: tuple[str, ...], state: str, error: str) -> list[str]:
        """What lies in a run's folder, drawn anew only when something in there changed, or what is ``told`` of it."""
        places = (run.folder, run.samples, run.folder / "metrics.jsonl", run.folder / "backups")
        key = (told, [place.exists() and place.stat().st_mtime_ns for place in places])
        if self._known[0] != key:
            chart = error + loss_of(run, f"Loss of {title}") + best_epoch(run)
            matrix = sample_matrix(run, self.pictures, lowest_epoch(run))
            self._known = (key, [chart, matrix, run_log(run, state) + damage_of(run)])
        return self._known[1]

    def _running(self) -> TrainView:
        job = self.job()
        if job is None or job.ended:
            raise UserError("Nothing is being trained", fix="Start a training first")
        return job


def while_training(text: str) -> str:
    """A message that goes when the training ends."""
    return f'<div class="lw-while-training">{html.message(text, html.GOOD)}</div>'


def where_it_is(job: TrainView) -> str:
    """Title and progress, and what one asks of a training: step, epoch, loss, speed, time left, memory."""
    facts: list[tuple[str, str]] = []
    early = job.phase == PREPARING  # what is counted then are images, not steps
    if not early:
        facts += [("Step", f"{job.done} of {job.total}"), ("Epoch", f"{job.epoch} of {job.epochs}")]
        facts += [("Loss", f"{job.loss:.3g}")] if job.loss is not None else []
    if job.remaining is not None and job.state != PAUSED:
        end = time.strftime("%H:%M", time.localtime(time.time() + job.remaining))
        facts += [("Speed", speed(job)), ("Left", f"{html.duration(job.remaining)}, until {end}")]
    if job.ended:
        facts.append(("Took", html.duration(job.elapsed)))
    else:
        facts.append(("Memory", memory_in_use()))
    ended = FAILED_EARLY if early and job.state == FAILED else job.state
    doing = ended if job.ended else "paused" if job.state == PAUSED else DOING.get(job.phase, "")
    doing = f"{job.note or doing}" if early and not job.ended else doing
    share = 100 * job.done / job.total if job.total else 0
    bar = f'<progress max=100 value={share:.1f} aria-label="Progress of the training"></progress>'
    return _where(job.title, doing, facts, "" if job.ended else bar, "off" if job.ended else "on")


def _where(title: str, doing: str, facts: Sequence[tuple[str, str]], bar: str = "", state: str = "off") -> str:
    rows = "".join(f"<div><dt>{name}</dt><dd>{escape(value)}</dd></div>" for name, value in facts if value)
    return (
        f'<div class="lw-where" data-lw-training="{state}"><p><b>{escape(title)}</b>'
        f'<span>{escape(doing)}</span></p>{bar}<dl class="lw-facts">{rows}</dl></div>'
    )


def _link(saved: int) -> Any:
    """The button that leads to the grid, where there is something to compare."""
    text = f"{html.plural(saved, 'epoch')} saved. Compare them in Epoch grid →"
    return gr.update(visible=saved > 0, value=text)


def memory_in_use() -> str:
    """``6.1 of 8.0 GB`` of the graphics card, by all programs; without one, this program's in main memory."""
    if torch.cuda.is_available():
        free, total = torch.cuda.mem_get_info()
        return f"{(total - free) / 2**30:.1f} of {total / 2**30:.1f} GB"
    held = process_memory()
    return "" if held is None else f"{held / 2**30:.1f} GB"
