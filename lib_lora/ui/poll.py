"""The page asks, the process answers: what is shown is computed from the workbench, so a reload loses nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import gradio as gr

from lib_lora.ui.compat import SKIP, listen

Source = Callable[[], Sequence[Any]]


class Poller:
    """Collects what is to be kept up to date, and sends only what changed since this page last asked.

    A hidden button is clicked by ``javascript/lora_workbench.js`` once a second while the page is in view. gradio's own
    timers differ between versions; a click works in all of them.
    """

    def __init__(self) -> None:
        self._sources: list[tuple[Source, int]] = []
        self._outputs: list[Any] = []
        self._seen: gr.State | None = None
        self._button: gr.Button | None = None

    def build(self) -> None:
        """The hidden parts; to be called once, inside the page's ``Blocks``."""
        self._seen = gr.State([])
        self._button = gr.Button("Refresh", elem_id="lw_poll", elem_classes=["lw-hidden"])

    def keep(self, source: Source, outputs: Sequence[Any]) -> None:
        """Show the values that ``source()`` returns in ``outputs``, now and whenever they change."""
        self._sources.append((source, len(outputs)))
        self._outputs += outputs

    def connect(self, page: gr.Blocks) -> None:
        """To be called last: poll on load and on every click of the hidden button."""
        for trigger in (page.load, self._button.click):
            listen(trigger, self.changes, [self._seen], [self._seen, *self._outputs])

    def changes(self, seen: list[Any]) -> list[Any]:
        """The values now, to be compared next time, and an update for each output."""
        now: list[Any] = []
        for source, count in self._sources:
            values = list(source())
            if len(values) != count:
                raise ValueError(f"{source} returned {len(values)} values for {count} components")
            now += values
        if len(seen) != len(now):
            return [now, *now]
        return [now, *(SKIP if before == value else value for before, value in zip(seen, now, strict=True))]
