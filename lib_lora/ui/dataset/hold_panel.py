"""Who else has the set open, and the button that takes it over."""

from __future__ import annotations

from typing import Any

import gradio as gr

from lib_lora.access import changes
from lib_lora.dataset.collection.owner import being_changed
from lib_lora.ui import html
from lib_lora.ui.actions import panel
from lib_lora.ui.dataset.pages import Connector
from lib_lora.ui.dataset.panel import Panel


class HoldPanel(Panel):
    """Stands below the folders; there is nothing of it while the set is open here alone."""

    def build(self) -> None:
        """Who else has the set open, and the button that takes it over."""
        self.notice = panel("lw_ds_hold")
        with gr.Row(elem_classes=["lw-actions"], visible=False) as self.offer:
            self.take = gr.Button("Take over", elem_id="lw_ds_take_over", size="sm")
        self.message = panel("lw_ds_taken_message")

    @property
    def outputs(self) -> list[Any]:
        """What :meth:`now` fills."""
        return [self.notice, self.offer]

    def connect(self, on: Connector) -> None:
        """The button."""
        on(self.take.click, self.do_take, [], self.message, busy="Waiting for the change that is being made …")

    @changes
    def do_take(self) -> str:
        """Take the set over; who has it open elsewhere can look on only."""
        session = self.session
        session.take_over()
        editor = session.opened()
        if editor.journal.trouble is not None:
            return html.error_message(editor.journal.trouble)
        if (owner := being_changed(editor.journal.folder)) is not None:
            text = f"Taken over. What is being done ({owner.title}) goes on to its end first."
            return html.message(text, html.WARNING)
        repaired = f" Put right after a crash: {', '.join(editor.recovered)}." if editor.recovered else ""
        return html.message(f"Taken over: it is changed from this page only.{repaired}", html.GOOD)

    def live(self) -> list[Any]:
        """Who else has the set open, or took it over; whether the button is offered."""
        hold = self.session.hold
        if hold is None:
            return ["", gr.update(visible=False)]
        if (error := hold.succeeded()) is not None:
            return [html.error_message(error), gr.update(visible=False)]
        others = hold.others()
        text = f"This set is also open elsewhere: {others}. Changes take turns; take over to go on alone."
        return [html.message(text, html.WARNING) if others else "", gr.update(visible=bool(others))]
