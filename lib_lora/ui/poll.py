"""The page asks, the process answers: what is shown is computed from the workbench, so a reload loses nothing.

Once a second a page in view asks ``GET lora_workbench/news/KEY`` for the numbers of the parts that are not as they were
sent, and presses the hidden button of each, whose answer has the new values. An idle page costs that one request: an
event of gradio's costs its front end a hundred times as much, however little it brings.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_urlsafe
from threading import Lock
from typing import Any, Generic, TypeVar

import gradio as gr

from lib_lora.access import EVERYTHING, Access, looks
from lib_lora.ui.compat import SKIP, listen

LOG = logging.getLogger(__name__)
T = TypeVar("T")
ROUTE = "lora_workbench/news"
PAGES = 64  # open pages that are known at once; one more, and the page that was silent longest starts afresh


@dataclass
class _Kept:
    source: Callable[..., Sequence[Any]]
    inputs: Sequence[Any]
    outputs: Sequence[Any]
    given: int = 0  # how often an action's answer has filled an output, of which the pages' records know nothing
    _fault: str = ""  # the last one, so that the log has it once and not every second

    def now(self, inputs: Sequence[Any]) -> list[Any]:
        """A value for each output; where the source fails, they stay as they are, and all other parts go on."""
        try:
            values = list(self.source(*inputs))
        except Exception as error:
            if repr(error) != self._fault:
                LOG.exception("A part of the page cannot be kept up to date")
            self._fault = repr(error)
            return [SKIP] * len(self.outputs)
        if len(values) != len(self.outputs):
            raise ValueError(f"{self.source} returned {len(values)} values for {len(self.outputs)} components")
        return values


@dataclass
class _Page:
    """An open page: what it shows, part by part."""

    kept: list[_Kept]
    inputs: list[Sequence[Any]]  # of each part, as the page last gave them
    sent: list[list[Any]]
    given: list[int]  # of each part, when it was sent last
    lock: Lock = field(default_factory=Lock)

    def changed(self) -> list[int]:
        """The numbers of the parts that are not as they were sent."""
        with self.lock:
            parts = zip(self.kept, self.inputs, self.sent, strict=True)
            return [
                number
                for number, (kept, inputs, sent) in enumerate(parts)
                if kept.given != self.given[number] or kept.now(inputs) != sent
            ]

    def changes(self, number: int, inputs: Sequence[Any]) -> list[Any]:
        """An update for each output of a part.

        What is remembered is a copy: gradio takes the values out of the updates that it is given.
        """
        with self.lock:
            given = self.kept[number].given
            now, before, known = self.kept[number].now(inputs), self.sent[number], given == self.given[number]
            self.inputs[number], self.sent[number], self.given[number] = inputs, deepcopy(now), given
            return [SKIP if known and old == value else value for old, value in zip(before, now, strict=True)]


class News:
    """The pages that are open, by the keys they were given. One for each process; "Reload UI" keeps it."""

    def __init__(self) -> None:
        self._pages: OrderedDict[str, _Page] = OrderedDict()
        self._lock = Lock()

    def enter(self, page: _Page) -> str:
        """A new key for ``page``."""
        key = token_urlsafe(12)
        with self._lock:
            self._pages[key] = page
            while len(self._pages) > PAGES:
                self._pages.popitem(last=False)
        return key

    def page(self, key: str) -> _Page | None:
        """The page of ``key``; None where it is not known any more, as after a restart."""
        with self._lock:
            if key in self._pages:
                self._pages.move_to_end(key)
            return self._pages.get(key)

    def serve_on(self, app: Any, access: Access = EVERYTHING) -> None:
        """Add the route to the page's FastAPI app; it asks for the page's login, where there is one."""
        from fastapi import Depends, HTTPException

        from lib_lora.api.guard import Guard

        def news(key: str):
            page = self.page(key)
            if page is None:
                raise HTTPException(404)
            return page.changed()

        login = [Depends(Guard(app, access).check)]
        app.add_api_route(f"/{ROUTE}/{{key}}", news, methods=["GET"], dependencies=login, response_model=None)


class Poller:
    """Collects what is to be kept up to date, and sends only what changed since this page last asked."""

    def __init__(self, news: News | None = None) -> None:
        self.news = news or News()
        self._kept: list[_Kept] = []

    def build(self) -> None:
        """The hidden parts; to be called once, inside the page's ``Blocks``."""
        self._button = gr.Button("Refresh", elem_id="lw_poll", elem_classes=["lw-hidden"])
        self._key = gr.Textbox("", label="Key of this page", elem_id="lw_poll_key", elem_classes=["lw-hidden"])

    def keep(self, source: Callable[..., Sequence[Any]], outputs: Sequence[Any], inputs: Sequence[Any] = ()) -> None:
        """Show what ``source(*inputs)`` returns, one value for each of ``outputs``, now and whenever it changes."""
        kept = _Kept(source, inputs, outputs)
        self._kept.append(kept)
        for component in filter(None, outputs):
            component.lw_kept = kept  # see `lib_lora.ui.actions.act`

    def connect(self, page: gr.Blocks) -> None:
        """To be called last, inside the page's ``Blocks``: all on load, then each part when it changed."""
        inputs = [component for kept in self._kept for component in kept.inputs]
        outputs = [component for kept in self._kept for component in kept.outputs]
        for trigger in (page.load, self._button.click):
            listen(trigger, self.everything, inputs, [self._key, *outputs])
        for number in range(len(self._kept)):
            button = gr.Button("Refresh", elem_id=f"lw_poll_{number}", elem_classes=["lw-hidden"])
            self._listen(button.click, [number])
        # one request for all parts that a field decides: each of its own costs the page as much as all together
        fields = {component: None for component in inputs if hasattr(component, "change")}
        for component in fields:
            self._listen(component.change, [n for n, kept in enumerate(self._kept) if component in kept.inputs])

    def _listen(self, trigger: Any, numbers: Sequence[int]) -> None:
        parts = [self._kept[number] for number in numbers]
        inputs = [component for kept in parts for component in kept.inputs]
        outputs = [component for kept in parts for component in kept.outputs]
        listen(trigger, self._refresh(numbers), [self._key, *inputs], outputs)

    @looks
    def everything(self, *inputs: Any) -> list[Any]:
        """A new key for the page, then the values of all outputs."""
        shares = list(_shares(self._kept, inputs))
        given = [kept.given for kept in self._kept]
        now = [kept.now(share) for kept, share in zip(self._kept, shares, strict=True)]
        key = self.news.enter(_Page(self._kept, list(shares), deepcopy(now), given))
        return [key, *(value for values in now for value in values)]

    def _refresh(self, numbers: Sequence[int]) -> Callable[..., Any]:
        parts = [self._kept[number] for number in numbers]

        @looks
        def refresh(key: str, *inputs: Any) -> Any:
            page = self.news.page(key)
            if page is None:
                values = [SKIP for kept in parts for _ in kept.outputs]
            else:
                shares = zip(numbers, _shares(parts, inputs), strict=True)
                values = [value for number, share in shares for value in page.changes(number, share)]
            return values[0] if len(values) == 1 else values  # gradio takes a list of one for a value

        return refresh


def _shares(parts: Sequence[_Kept], inputs: Sequence[Any]) -> Iterator[tuple[Any, ...]]:
    """The inputs of each part, out of those of all."""
    rest = iter(inputs)
    return (tuple(next(rest) for _ in kept.inputs) for kept in parts)


class Watched(Generic[T]):
    """A value computed from folders, computed again only when an entry was added to or removed from one of them."""

    def __init__(self, compute: Callable[[], T], *folders: Path):
        self._compute = compute
        self._folders = folders
        self._state: tuple[int, ...] | None = None
        self._value: T | None = None

    def __call__(self) -> T:
        """The value as of now."""
        state = tuple(folder.stat().st_mtime_ns if folder.exists() else 0 for folder in self._folders)
        if state != self._state:
            self._value, self._state = self._compute(), state
        return self._value
