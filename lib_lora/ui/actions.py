"""Buttons: what goes wrong in a handler becomes a message beside the button, never a traceback."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import time_ns
from typing import Any

import gradio as gr

from lib_lora.access import around, guarded, looks
from lib_lora.errors import UserError
from lib_lora.ui import html
from lib_lora.ui.compat import SKIP, connect, listen, source_of

ONCE = "lw-once"  # class of buttons that wait for an answer
NO_MESSAGE = ""  # what a handler returns first where it has nothing to say


def panel(elem_id: str, content: str = "") -> gr.HTML:
    """A place for HTML, which takes no room while it is empty."""
    return gr.HTML(content, elem_id=elem_id, elem_classes=["lw-html"])


def safely(
    fn: Callable[..., Any], outputs: int, error_html: Callable[[UserError], str] = html.error_message
) -> Callable[..., list[Any]]:
    """``fn`` for a message line and ``outputs`` further components.

    ``fn`` returns the message's HTML (also None, or ``SKIP`` for the one that is there), alone or followed by one value
    for each output.
    """

    @around(fn)
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


def _stamped(fn: Callable[..., list[Any]]) -> Callable[..., list[Any]]:
    """A message that is said again is another one, else gradio would not show it a second time.

    The page's script takes messages away when their cause is gone.
    """

    @around(fn)
    def run(*args: Any) -> list[Any]:
        message, *values = fn(*args)
        return [f"{message}<!-- {time_ns()} -->" if message and isinstance(message, str) else message, *values]

    return run


def _told(fn: Callable[..., list[Any]], outputs: Sequence[Any]) -> Callable[..., list[Any]]:
    """An output that is also kept up to date is sent anew: what it shows is the answer, and not what was sent last.

    A bar that says "waits for its turn" would stay where the job ends before the page asks for news.
    """

    @around(fn)
    def run(*args: Any) -> list[Any]:
        values = fn(*args)
        for component, value in zip(outputs, values, strict=True):
            if (kept := getattr(component, "lw_kept", None)) is not None and value != SKIP:
                kept.given += 1
        return values

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

    A button takes no second click until the answer to the first is there (``javascript/lora_workbench_once.js``).

    Args:
        fn: marked with ``looks`` or ``changes`` (``lib_lora.access``).
        busy: shown until a handler that takes longer has an answer.
    """
    run = _told(_stamped(safely(guarded(fn), len(outputs), error_html)), [message, *outputs])
    pressed = source_of(trigger)
    if busy:
        trigger = listen(trigger, looks(lambda: html.message(busy)), [], [message]).then
    waits = _once(pressed) if isinstance(pressed, gr.Button) else ""
    return connect(trigger, run, inputs, [message, *outputs], waits=waits)


def _once(button: gr.Button) -> str:
    """Mark a button as one that waits for its answer; returns its ``elem_id``."""
    button.elem_id = button.elem_id or f"lw_button_{button._id}"
    if ONCE not in (classes := list(button.elem_classes or [])):
        button.elem_classes = [*classes, ONCE]
    return button.elem_id
