"""The toy tab: a number of petals, which is looked at and changed."""

from __future__ import annotations

import gradio as gr

from lib_lora.access import changes, looks
from lib_lora.ui.actions import act, panel
from lib_lora.ui.poll import Poller
from lib_lora.workbench import Workbench


class ToyTab:
    """Petals."""

    def __init__(self, workbench: Workbench):
        self.workbench = workbench
        self.petals = 0

    def build(self) -> None:
        """The components."""
        self.more = gr.Button("One more petal", elem_id="lw_toy_more")
        self.count = panel("lw_toy_count")
        self.message = panel("lw_toy_message")

    def connect(self, poller: Poller) -> None:
        """The events."""
        act(self.more.click, self.add, [], self.message)
        poller.keep(self.now, [self.count])

    @changes
    def add(self) -> str:
        """Count one more."""
        self.petals += 1
        return "Added"

    @looks
    def now(self) -> list[str]:
        """The number of petals."""
        return [str(self.petals)]
