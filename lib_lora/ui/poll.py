"""The page asks, the process answers: what is shown is computed from the workbench, so a reload loses nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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


class Poller:
    """Collects what is to be kept up to date, and sends only what changed since this page last asked.

    A hidden button is clicked by ``javascript/lora_workbench.js`` once a second while the page is in view. gradio's own
    timers differ between versions; a click works in all of them.
    """

    def __init__(self) -> None:
        self._kept: list[_Kept] = []
        self._seen: gr.State | None = None
        self._button: gr.Button | None = None

    def build(self) -> None:
        """The hidden parts; to be called once, inside the page's ``Blocks``."""
        self._seen = gr.State([])
        self._button = gr.Button("Refresh", elem_id="lw_poll", elem_classes=["lw-hidden"])

    def keep(self, source: Callable[..., Sequence[Any]], outputs: Sequence[Any], inputs: Sequence[Any] = ()) -> None:
        """Show what ``source(*inputs)`` returns, one value for each of ``outputs``, now and whenever it changes."""
        self._kept.append(_Kept(source, inputs, outputs))

    def connect(self, page: gr.Blocks) -> None:
        """To be called last: poll on load and on every click of the hidden button."""
        inputs = [component for kept in self._kept for component in kept.inputs]
        outputs = [component for kept in self._kept for component in kept.outputs]
        for trigger in (page.load, self._button.click):
            listen(trigger, self.changes, [self._seen, *inputs], [self._seen, *outputs])

    def changes(self, seen: list[Any], *inputs: Any) -> list[Any]:
        """The values now, to be compared next time, and an update for each output."""
        now: list[Any] = []
        rest = iter(inputs)
        for kept in self._kept:
            values = list(kept.source(*(next(rest) for _ in kept.inputs)))
            if len(values) != len(kept.outputs):
                raise ValueError(f"{kept.source} returned {len(values)} values for {len(kept.outputs)} components")
            now += values
        if len(seen) != len(now):
            return [now, *now]
        return [now, *(SKIP if before == value else value for before, value in zip(seen, now, strict=True))]


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
