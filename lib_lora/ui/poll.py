"""The page asks, the process answers: what is shown is computed from the workbench, so a reload loses nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import gradio as gr

from lib_lora.ui.compat import SKIP, listen

T = TypeVar("T")


@dataclass(frozen=True)
class _Kept:
    source: Callable[..., Sequence[Any]]
    inputs: Sequence[Any]
    outputs: Sequence[Any]

    def now(self, *inputs: Any) -> list[Any]:
        """A value for each output."""
        values = list(self.source(*inputs))
        if len(values) != len(self.outputs):
            raise ValueError(f"{self.source} returned {len(values)} values for {len(self.outputs)} components")
        return values

    def changes(self, sent: list[Any], *inputs: Any) -> list[Any]:
        """The values now, to be compared next time, and an update for each output.

        What is kept is a copy: gradio takes the values out of the updates that it is given.
        """
        now = self.now(*inputs)
        if not sent:
            return [deepcopy(now), *now]
        return [deepcopy(now), *(SKIP if before == value else value for before, value in zip(sent, now, strict=True))]


class Poller:
    """Collects what is to be kept up to date, and sends only what changed since this page last asked.

    A hidden button is clicked by ``javascript/lora_workbench.js`` once a second while the page is in view. gradio's own
    timers differ between versions; a click works in all of them. Its answer names the parts that changed, and the
    script clicks the hidden button of each: gradio works on every output of an event, changed or not, and with all of
    them in one event a page that is only open would keep a core busy.
    """

    def __init__(self) -> None:
        self._kept: list[_Kept] = []

    def build(self) -> None:
        """The hidden parts; to be called once, inside the page's ``Blocks``."""
        self._button = gr.Button("Refresh", elem_id="lw_poll", elem_classes=["lw-hidden"])
        self._news = gr.Textbox("", label="What changed", elem_id="lw_poll_news", elem_classes=["lw-hidden"])

    def keep(self, source: Callable[..., Sequence[Any]], outputs: Sequence[Any], inputs: Sequence[Any] = ()) -> None:
        """Show what ``source(*inputs)`` returns, one value for each of ``outputs``, now and whenever it changes."""
        self._kept.append(_Kept(source, inputs, outputs))

    def connect(self, page: gr.Blocks) -> None:
        """To be called last, inside the page's ``Blocks``: all on load, then what changed on every click."""
        sent = [gr.State([]) for _ in self._kept]
        inputs = [component for kept in self._kept for component in kept.inputs]
        listen(page.load, self.everything, inputs, [*sent, *(c for kept in self._kept for c in kept.outputs)])
        look = listen(self._button.click, self.news, [*sent, *inputs], [self._news])
        listen(look.then, None, [self._news], js="(news) => { window.loraWorkbench.refresh(news); return []; }")
        for number, (state, kept) in enumerate(zip(sent, self._kept, strict=True)):
            button = gr.Button("Refresh", elem_id=f"lw_poll_{number}", elem_classes=["lw-hidden"])
            listen(button.click, kept.changes, [state, *kept.inputs], [state, *kept.outputs])

    def everything(self, *inputs: Any) -> list[Any]:
        """All values, to be compared next time, then all values, for the outputs."""
        now = [kept.now(*values) for kept, values in self._with_inputs(inputs)]
        return [*deepcopy(now), *(value for values in now for value in values)]

    def news(self, *sent_and_inputs: Any) -> str:
        """The numbers of the parts that are not as they were sent, with commas between.

        Args:
            sent_and_inputs: what was sent of each part, then the inputs of all of them.
        """
        count = len(self._kept)
        sent, inputs = sent_and_inputs[:count], sent_and_inputs[count:]
        parts = zip(sent, self._with_inputs(inputs), strict=True)
        return ",".join(str(number) for number, (old, (kept, own)) in enumerate(parts) if kept.now(*own) != old)

    def _with_inputs(self, inputs: Sequence[Any]) -> Iterator[tuple[_Kept, list[Any]]]:
        """Each part with its share of the inputs of all."""
        rest = iter(inputs)
        return ((kept, [next(rest) for _ in kept.inputs]) for kept in self._kept)


class Watched(Generic[T]):
    """A value computed from folders, computed again only when an entry was added to or removed from one of them."""

    def __init__(self, compute: Callable[[], T], *folders: Path):
        self._compute = compute
        self._folders = folders
        self._state: tuple[int, ...] | None = None
        self._value: T | None = None

    def __call__(self) -> T:
        state = tuple(folder.stat().st_mtime_ns if folder.exists() else 0 for folder in self._folders)
        if state != self._state:
            self._value, self._state = self._compute(), state
        return self._value
