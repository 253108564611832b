"""The strip above all tabs: the model, and the job that is running, wherever it was started."""

from __future__ import annotations

from html import escape
from typing import Any

import gradio as gr

from lib_lora.access import changes
from lib_lora.jobs.job import Progress
from lib_lora.jobs.views import DONE, FAILED, PAUSED, RUNNING, WAITING, JobView
from lib_lora.ui import html
from lib_lora.ui.actions import act, panel
from lib_lora.ui.job_view import CANCEL
from lib_lora.ui.poll import Poller
from lib_lora.workbench import Workbench


class StatusStrip:
    """Checkpoint, where the host's own page has no choice of it; running job with its progress, Pause and Stop."""

    def __init__(self, workbench: Workbench):
        self.workbench = workbench

    def build(self) -> None:
        """The model, the job that runs, and its buttons; above all tabs."""
        with gr.Row(elem_id="lw_status", elem_classes=["lw-status"]):
            self.model = None if self.workbench.host.shows_checkpoints else self._choice()
            self.job = panel("lw_job")
            self.pause = gr.Button("Pause", elem_id="lw_pause", size="sm", scale=0, min_width=84)
            self.stop = gr.Button("Stop", elem_id="lw_stop", size="sm", scale=0, min_width=84)
        self.ended = gr.Textbox("", label="Job to cancel", elem_id=CANCEL, elem_classes=["lw-hidden"])
        self.message = panel("lw_status_message")

    def _choice(self) -> gr.Dropdown:
        info = self.workbench.host.info()
        return gr.Dropdown(
            choices=self.workbench.host.checkpoints(),
            value=info.name if info else None,
            label="Checkpoint",
            elem_id="lw_model",
            scale=2,
            min_width=180,
            interactive=True,
        )

    def connect(self, poller: Poller) -> None:
        """Buttons, and what follows the queue."""
        if self.model is not None:
            act(self.model.input, self.load_model, [self.model], self.message)
            poller.keep(self.checkpoint, [self.model])
        act(self.pause.click, self.pause_or_go_on, [], self.message)
        act(self.stop.click, self.end, [], self.message)
        act(self.ended.change, self.cancel, [self.ended], self.message)
        poller.keep(self.now, [self.job, self.pause, self.stop])

    def now(self) -> list[Any]:
        """What the strip shows."""
        jobs = self.workbench.queue.jobs()
        current = next((job for job in jobs if job.state in (RUNNING, PAUSED)), None)
        waiting = [job for job in jobs if job.state == WAITING]
        paused = current is not None and current.state == PAUSED
        checking = self.workbench.checking.note() if current is None else None
        line = job_line(current, waiting) if current or waiting else idle_line(jobs)
        return [
            check_line(checking) if checking else line,
            gr.update(value="Go on" if paused else "Pause", interactive=current is not None),
            gr.update(interactive=current is not None or checking is not None),
        ]

    def checkpoint(self) -> list[Any]:
        """The one that is loaded."""
        info = self.workbench.host.info()
        return [info.name if info else None]

    @changes
    def load_model(self, name: str) -> str:
        """Load another checkpoint, as a job, so that it never gets under a running one."""
        load_checkpoint(self.workbench, name)
        return ""

    @changes
    def pause_or_go_on(self) -> str:
        """Pause the job that runs, or let it go on."""
        queue = self.workbench.queue
        current = queue.current()
        if current is not None:
            (queue.resume if current.state == PAUSED else queue.pause)(current.id)
        return ""

    @changes
    def end(self) -> str:
        """Stop the job that runs; a check too."""
        if self.workbench.queue.current() is None:
            self.workbench.checking.end()
        self.workbench.queue.stop()
        return ""

    @changes
    def cancel(self, picked: str) -> str:
        """End the job whose bar has the button: its id, then the time of the click."""
        number = int(picked.partition("|")[0] or 0)
        if any(job.id == number and not job.ended for job in self.workbench.queue.jobs()):
            self.workbench.queue.cancel(number)
        return ""


def job_line(job: JobView | None, waiting: list[JobView]) -> str:
    """One line about the running job and the queue behind it."""
    queue = f'<span class="lw-quiet">{len(waiting)} waiting: {escape(", ".join(w.title for w in waiting[:3]))}</span>'
    if job is None:
        return f'<div class="lw-job-line">{queue}</div>'
    share = 100 * job.done / job.total if job.total else 0
    facts = [f"{job.done}/{job.total}" if job.total else "starting"]
    facts += [f"{speed(job)}"] if speed(job) else []
    facts += [f"{html.duration(job.remaining)} left"] if job.remaining is not None else []
    facts += [job.note] if job.note else []
    return (
        f'<div class="lw-job-line" data-state="{job.state}"><b>{"Paused: " if job.state == PAUSED else ""}'
        f"{escape(job.title)}</b><progress max=100 value={share:.1f} aria-label='Progress'></progress>"
        f"<span>{escape(' · '.join(facts))}</span>{queue if waiting else ''}</div>"
    )


def check_line(note: str) -> str:
    """*Check* is at work; how long it takes is what it finds out."""
    bar = '<progress aria-label="Progress"></progress>'
    return f'<div class="lw-job-line" data-state="checking">{bar}<span>{escape(note)}</span></div>'


def idle_line(jobs: list[JobView]) -> str:
    """How the last job ended."""
    if not jobs:
        return '<div class="lw-job-line lw-quiet" data-state="idle">Nothing is running.</div>'
    last = jobs[-1]
    mark = "✗" if last.state == FAILED else "✓" if last.state == DONE else "■"
    text = f"{mark} {last.title}: {last.state}, {html.duration(last.elapsed)}"
    if last.error:
        text += f" ({last.error['what']})"
    return f'<div class="lw-job-line lw-quiet" data-state="idle">{escape(text)}</div>'


def speed(job: JobView) -> str:
    """Steps a second, or seconds a step."""
    if not job.remaining or job.total <= job.done:
        return ""
    each = job.remaining / (job.total - job.done)
    return f"{1 / each:.1f} it/s" if each < 1 else f"{each:.1f} s/it"


def load_checkpoint(workbench: Workbench, name: str) -> int:
    """Queue the loading of another checkpoint; returns the job's id."""
    return workbench.submit("model", f"Loading {name}", lambda host: _load(host, name))


def _load(host: Any, name: str) -> Any:
    yield Progress(0, 1, "reading the file")
    host.load(name)
    yield Progress(1, 1)
    return name
