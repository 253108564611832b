"""*Test this card*: how fast this machine trains, measured in a few minutes and shown as a table."""

from __future__ import annotations

from typing import Any

import gradio as gr

from lib_lora.access import changes
from lib_lora.errors import UserError
from lib_lora.jobs.card_job import CardJob, why_not
from lib_lora.jobs.views import CardView
from lib_lora.small_files import mapping, tolerated
from lib_lora.ui import html
from lib_lora.ui.actions import NO_MESSAGE, act, panel
from lib_lora.ui.job_view import newest, of_type, progress
from lib_lora.ui.poll import Poller
from lib_lora.workbench import Workbench

INTRO = (
    "Times and memory of a training step on this card, for SD1.5 and SDXL in their full sizes with random weights: "
    "nothing is downloaded. It takes up to nine minutes, in which the model leaves the card and pictures wait."
)


class CardPanel:
    """One button and the last table; where there is nothing to test, the reason."""

    def __init__(self, workbench: Workbench):
        self.workbench = workbench

    def build(self) -> None:
        """The button, or why there is nothing to test, and the last table."""
        reason = why_not()
        with gr.Accordion("Test this card", open=False, elem_id="lw_card"):
            gr.HTML(f'<p class="lw-quiet">{INTRO}</p>', elem_classes=["lw-html"])
            with gr.Row(elem_classes=["lw-actions"]):
                can = reason is None
                self.go = gr.Button("Test this card", size="sm", elem_id="lw_card_go", visible=can)
                self.cancel = gr.Button(
                    "Cancel test", size="sm", elem_id="lw_card_cancel", visible=can, interactive=False
                )
            self.message = panel("lw_card_message", "" if reason is None else html.error_message(reason, html.INFO))
            self.progress = panel("lw_card_progress")
            self.table = panel("lw_card_table", self.shown(None))

    def connect(self, poller: Poller) -> None:
        """Buttons, progress and table."""
        act(self.go.click, self.start, [], self.message)
        act(self.cancel.click, self.end, [], self.message)
        poller.keep(self.now, [self.progress, self.table, self.go, self.cancel])

    @changes
    def start(self) -> str:
        """Queue the test.

        Raises:
            UserError: there is no card, something is missing, or it is in the queue already.
        """
        if (reason := why_not()) is not None:
            raise reason
        job = self._job()
        if job is not None and not job.ended:
            raise UserError("The test is in the queue already", fix="Wait for its turn")
        self.workbench.queue.submit(CardJob(self.workbench.queue))
        return NO_MESSAGE

    @changes
    def end(self) -> str:
        """Cancel the test."""
        job = self._job()
        if job is not None and not job.ended:
            self.workbench.queue.cancel(job.id)
        return NO_MESSAGE

    def now(self) -> list[Any]:
        """Bar, table and buttons."""
        job = self._job()
        runs = job is not None and not job.ended
        return [progress(job), self.shown(job), gr.update(interactive=not runs), gr.update(interactive=runs)]

    def shown(self, job: CardView | None) -> str:
        """The table of ``job``, else that of the last test that came to its end."""
        lines = job.lines if job is not None else tolerated(self.workbench.host.paths.places.card, _lines, ())
        return f'<div class="lw-report"><pre>{html.escape(chr(10).join(lines))}</pre></div>' if lines else ""

    def _job(self) -> CardView | None:
        return newest(of_type(self.workbench.queue, CardView))


def _lines(content: Any) -> tuple[str, ...]:
    return tuple(map(str, mapping(content)["lines"]))
