"""Buttons: what goes wrong in a handler becomes a message beside the button, never a traceback."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

import gradio as gr

from lib_lora.errors import UserError
from lib_lora.ui import html
from lib_lora.ui.compat import SKIP, listen

NO_MESSAGE = ""  # what a handler returns first where it has nothing to say
F = TypeVar("F", bound=Callable[..., Any])
_ONLY_LOOKING: ContextVar[bool] = ContextVar("only_looking", default=False)
READ_ONLY = UserError(
    "This web UI is open to the network, so it can only be looked at",
    fix="Start it with --enable-insecure-extension-access, or without --listen and --share",
)


@contextmanager
def only_looking(on: bool) -> Iterator[None]:
    """Pages that are connected inside refuse every handler but those marked with :func:`looks`."""
    token = _ONLY_LOOKING.set(on)
    try:
        yield
    finally:
        _ONLY_LOOKING.reset(token)


def looks(handler: F) -> F:
    """Mark a handler that shows something and changes nothing."""
    handler.looks = True
    return handler


def _refuse(*_: Any) -> None:
    raise READ_ONLY


def panel(elem_id: str, content: str = "") -> gr.HTML:
    """A place for HTML, which takes no room while it is empty."""
    return gr.HTML(content, elem_id=elem_id, elem_classes=["lw-html"])


def safely(
    fn: Callable[..., Any], outputs: int, error_html: Callable[[UserError], str] = html.error_message
) -> Callable[..., list[Any]]:
    """``fn`` for a message line and ``outputs`` further components.

    ``fn`` returns the message's HTML (also None), alone or followed by one value for each output.
    """

    def run(*args: Any) -> list[Any]:
        try:
            result = fn(*args)
        except UserError as error:
            return [error_html(error), *[SKIP] * outputs]
        except Exception as error:  # the page must say so whatever it was; the log has the rest
            return [html.unexpected(error), *[SKIP] * outputs]
        message, *values = result if isinstance(result, (list, tuple)) else (result,)
        return [message or "", *(values or [SKIP] * outputs)]

    return run


def act(
    trigger: Callable,
    fn: Callable[..., Any],
    inputs: Sequence[Any],
    message: gr.HTML,
    outputs: Sequence[Any] = (),
    *,
    busy: str = "",
    error_html: Callable[[UserError], str] = html.error_message,
) -> Any:
    """Connect an event to a handler as described at :func:`safely`; returns the dependency, whose ``then`` is an event.

    Args:
        busy: shown until a handler that takes longer has an answer.
    """
    if _ONLY_LOOKING.get() and not getattr(fn, "looks", False):
        fn, busy = _refuse, ""
    run = safely(fn, len(outputs), error_html)
    if busy:
        trigger = listen(trigger, lambda: html.message(busy), [], [message]).then
    return listen(trigger, run, inputs, [message, *outputs])
