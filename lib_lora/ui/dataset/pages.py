"""A desk for each browser page: what one page selects, marks, filters or types is nobody else's.

The set itself is shared: pages that open the same folders look at one `DatasetEditor`.
"""

from __future__ import annotations

import functools
import inspect
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from secrets import token_urlsafe
from threading import Lock
from typing import Any

import gradio as gr

from lib_lora.access import MARK, needs_of
from lib_lora.ui.actions import act
from lib_lora.ui.compat import listen
from lib_lora.ui.dataset.last_set import last_set
from lib_lora.ui.dataset.session import Session
from lib_lora.workbench import Workbench

MOST = 64  # pages that are remembered
_HERE: ContextVar[str] = ContextVar("page", default="")
_LOOKS: ContextVar[bool] = ContextVar("looks", default=False)  # a page asks for news by itself: nobody uses it just now


class PageKey:
    """The value of a ``gr.State``: gradio copies it once for each page, and each copy is another key."""

    def __init__(self) -> None:
        self.text = token_urlsafe(9)

    def __deepcopy__(self, memo: dict[int, Any]) -> PageKey:
        return PageKey()


class Pages:
    """The sessions of all pages. A page that is new, or was reloaded, begins as the one that was used last."""

    def __init__(self, workbench: Workbench):
        self.workbench = workbench
        self._sessions: OrderedDict[str, Session] = OrderedDict()
        self._last: Session | None = None
        self._lock = Lock()
        self._before = last_set(workbench.host.paths.places)

    def here(self) -> Session:
        """The session of the page whose event is handled now."""
        key = _HERE.get()
        with self._lock:
            found = self._sessions.get(key)
            if found is None:
                found = self._sessions[key] = Session(self.workbench)
                found.before = self._before
                if self._last is not None:
                    found.begin_as(self._last)
                while len(self._sessions) > MOST:
                    self._sessions.popitem(last=False)
            self._sessions.move_to_end(key)
            if key and not _LOOKS.get():  # what is asked for all pages at once is nobody's use of a set either
                self._last = found
            if found.hold is not None:
                found.hold.heard = time.monotonic()
            return found

    def opened(self) -> tuple[Path, int | None] | None:
        """Folder and number of pictures of the set of this page, else of the one that was used last; None without any.

        Before any page of this process has opened one, that of before the restart, whose pictures are not counted.
        """
        with self._lock:
            found = [self._sessions.get(_HERE.get()), self._last, *reversed(self._sessions.values())]
        editor = next((session.editor for session in found if session and session.editor), None)
        if editor is None or not editor.folders:
            return (self._before[0], None) if self._before else None
        return editor.folders[0], len(editor.pictures)

    def at(self, handler: Callable[..., Any]) -> Callable[..., Any]:
        """``handler`` with the key of the page as a first argument."""

        def call(key: PageKey | None, *args: Any) -> Any:
            with _page(key):
                return handler(*args)

        functools.update_wrapper(call, handler)
        own = [p.replace(annotation=p.empty) for p in inspect.signature(handler).parameters.values()]
        first = inspect.Parameter("key", inspect.Parameter.POSITIONAL_OR_KEYWORD)
        call.__signature__ = inspect.Signature([first, *own])  # type: ignore[attr-defined]
        call.__annotations__ = {}
        setattr(call, MARK, needs_of(handler))  # a bound method's own mark is not among what was copied
        return call


@contextmanager
def _page(key: PageKey | None, *, looks: bool = False) -> Iterator[None]:
    tokens = _HERE.set(key.text if isinstance(key, PageKey) else ""), _LOOKS.set(looks)
    try:
        yield
    finally:
        _HERE.reset(tokens[0])
        _LOOKS.reset(tokens[1])


class Connector:
    """Connects the events of the tab: each handler runs at the desk of its page.

    Calling it connects an action, after which the whole tab is shown anew.
    """

    def __init__(self, pages: Pages, shown: Callable[[], list[Any]]):
        self._pages, self._now = pages, shown
        self.key = gr.State(PageKey())
        self.outputs: list[Any] = []

    def __call__(
        self, trigger: Any, fn: Any, inputs: Sequence[Any], message: Any, outputs: Sequence[Any] = (), busy: str = ""
    ) -> Any:
        """``trigger`` calls ``fn``, whose first answer is the message; then all that shows the set is brought up to
        date. Arguments as of :func:`lib_lora.ui.actions.act`."""
        done = self.act(trigger, fn, inputs, message, outputs, busy=busy)
        return self.listen(done.then, self._now, [], self.outputs)

    def act(
        self, trigger: Any, fn: Any, inputs: Sequence[Any], message: Any, outputs: Sequence[Any] = (), busy: str = ""
    ) -> Any:
        """As `lib_lora.ui.actions.act`."""
        return act(trigger, self._pages.at(fn), [self.key, *inputs], message, outputs, busy=busy)

    def listen(self, trigger: Any, fn: Any, inputs: Sequence[Any], outputs: Sequence[Any]) -> Any:
        """As `lib_lora.ui.compat.listen`."""
        return listen(trigger, self._pages.at(fn), [self.key, *inputs], outputs)

    def keep(self, poller: Any, source: Any, outputs: Sequence[Any], inputs: Sequence[Any] = ()) -> None:
        """As `lib_lora.ui.poll.Poller.keep`."""

        def at_page(key: PageKey | None, *values: Any) -> Any:
            with _page(key, looks=True):
                return source(*values)

        poller.keep(at_page, outputs, [self.key, *inputs])
