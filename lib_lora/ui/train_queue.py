"""What waits behind the running job: order, changes, and out again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from typing import Any

import gradio as gr

from lib_lora.access import changes, looks
from lib_lora.errors import UserError
from lib_lora.jobs.views import WAITING, JobView, TrainView
from lib_lora.ui import html
from lib_lora.ui.actions import NO_MESSAGE, act, panel
from lib_lora.ui.compat import SKIP
from lib_lora.ui.form import SettingsForm
from lib_lora.ui.poll import Poller
from lib_lora.workbench import Workbench

PICK = "lw_queue_pick"


class WaitingList:
    """A row for each waiting job; a training's settings can be taken into the form and put back changed."""

    def __init__(self, workbench: Workbench, form: SettingsForm):
        self.workbench = workbench
        self.form = form

    def build(self) -> None:
        """The runs that wait, and the buttons while one is being changed."""
        self.list = panel("lw_queue")
        self.pick = gr.Textbox("", label="Waiting job", elem_id=PICK, elem_classes=["lw-hidden"])
        self.changing = gr.State(None)
        with gr.Row(elem_classes=["lw-actions"], visible=False) as self.change_row:
            self.note = panel("lw_queue_note")
            self.save = gr.Button("Save the change", variant="primary", elem_id="lw_queue_save")
            self.leave = gr.Button("Leave it as it was", elem_id="lw_queue_leave")

    def connect(self, poller: Poller, message: gr.HTML, guard: Callable[..., Any], fault: gr.HTML) -> None:
        """``message`` and ``fault`` are the form's; ``guard`` shows a mistake at its field."""
        edited = [self.changing, self.change_row, self.note]
        self.form.filled(act(self.pick.change, self.follow, [self.pick], message, [*edited, *self.form.inputs]))
        act(self.leave.click, self.let_be, [], message, edited)
        act(self.save.click, guard(self.put_back, 3), [self.changing, *self.form.inputs], message, [fault, *edited])
        poller.keep(lambda: [waiting_table(self._waiting())], [self.list])

    @changes
    def follow(self, pick: str) -> list[Any]:
        """``up:ID``, ``down:ID``, ``out:ID`` or ``change:ID``, followed by the time of the click."""
        action, _, number = pick.rpartition("|")[0].partition(":")
        job = self.workbench.queue.view(int(number))
        rest = [SKIP] * (3 + len(self.form.inputs))
        if action == "change":
            return self._take_up(job)
        if action == "out":
            self.workbench.queue.cancel(job.id)
            return [html.message(f"{job.title} is out of the queue. Its settings stay under Runs."), *rest]
        self.workbench.queue.reorder(job.id, -1 if action == "up" else 1)
        return [NO_MESSAGE, *rest]

    @changes
    def put_back(self, job_id: int | None, *values: Any) -> list[Any]:
        """Give the waiting run the form's settings."""
        if job_id is None:
            raise UserError("No waiting run is being changed", fix="Choose “Change” in the queue")
        config = self.form.config(values)
        self.workbench.change_waiting(job_id, config)
        return [html.message(f"{config.name} will be trained with these settings.", html.GOOD), "", *self._closed()]

    @looks
    def let_be(self) -> list[Any]:
        """End the change without making it."""
        return [NO_MESSAGE, *self._closed()]

    def _take_up(self, job: JobView) -> list[Any]:
        if job.state != WAITING or not isinstance(job, TrainView):
            raise UserError("This run has begun already", where=job.title, fix="Stop it to change its settings")
        config = self.workbench.runs.open(job.run).config()
        note = html.message(f"The fields above show {job.title}, which waits in the queue.")
        return [NO_MESSAGE, job.id, gr.update(visible=True), note, *self.form.values(config)]

    def _closed(self) -> list[Any]:
        return [None, gr.update(visible=False), ""]

    def _waiting(self) -> list[JobView]:
        return [job for job in self.workbench.queue.jobs() if job.state == WAITING]


def waiting_table(jobs: Sequence[JobView]) -> str:
    """The waiting jobs in their order, each with its buttons; empty without any."""
    rows = []
    for place, job in enumerate(jobs):
        buttons = [html.pick_button("↑ Earlier", PICK, f"up:{job.id}")] if place else []
        buttons += [html.pick_button("↓ Later", PICK, f"down:{job.id}")] if place < len(jobs) - 1 else []
        buttons += [html.pick_button("Change", PICK, f"change:{job.id}")] if isinstance(job, TrainView) else []
        buttons.append(html.pick_button("Take out", PICK, f"out:{job.id}"))
        rows.append(f"<li><b>{escape(job.title)}</b><span>{''.join(buttons)}</span></li>")
    title = f'<i class="lw-quiet">{html.plural(len(jobs), "job")} waiting</i>'
    return f'<div class="lw-panel lw-queue">{title}<ol>{"".join(rows)}</ol></div>' if rows else ""
