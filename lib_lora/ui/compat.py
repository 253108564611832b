"""What differs between gradio 3.41, 4.40 and 6, told by what a function accepts, never by a version number."""

from __future__ import annotations

import inspect
import logging
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import gradio as gr

from lib_lora.access import around, guarded, needs_of
from lib_lora.errors import UserError

LOG = logging.getLogger(__name__)
# a page's load event may come before its scripts (javascript/lora_workbench_ask.js)
ASK = """async (...values) => {{
    while (!window.loraWorkbench?.ask) await new Promise((go) => setTimeout(go, 10));
    return window.loraWorkbench.ask({number}, {last}, {prepare}, values){answered};
}}"""
ANSWERED = "() => window.loraWorkbench.answered('{}')"  # javascript/lora_workbench_once.js
_PARAMETERS: dict[Any, Collection[str]] = {}
SKIP = gr.update()  # "leave this component as it is"


def accepted(function: Callable, **options: Any) -> dict[str, Any]:
    """Those of ``options`` that ``function`` has a parameter for."""
    known = inspect.signature(function).parameters
    return {name: value for name, value in options.items() if name in known}


def listen(
    trigger: Callable,
    fn: Callable | None,
    inputs: Sequence[Any] = (),
    outputs: Sequence[Any] = (),
    *,
    js: str | None = None,
) -> Any:
    """Connect an event such as ``button.click``; returns the dependency, whose ``then`` is an event too.

    Args:
        fn: marked with ``looks`` or ``changes``; what it may not do here leaves the outputs as they are.
        js: function expression that runs in the page; its result replaces the inputs.

    Raises:
        TypeError: ``fn`` does not say whether it looks or changes.
    """
    return connect(trigger, None if fn is None else _quiet(guarded(fn), len(outputs)), inputs, outputs, js=js)


def _quiet(fn: Callable[..., Any], outputs: int) -> Callable[..., Any]:
    @around(fn)
    def run(*args: Any) -> Any:
        try:
            return fn(*args)
        except UserError as error:
            LOG.debug("%s", error)
            return [SKIP] * outputs if outputs > 1 else SKIP if outputs else None

    return run


def connect(
    trigger: Callable,
    fn: Callable | None,
    inputs: Sequence[Any] = (),
    outputs: Sequence[Any] = (),
    *,
    js: str | None = None,
    waits: str = "",
) -> Any:
    """:func:`listen` for a handler that has been through :func:`lib_lora.access.guarded` already.

    Every handler of ours is short (long work is a job), so none of them queues or covers its outputs with a spinner.
    All three gradios know ``show_progress``; a web UI may wrap an event so that its signature no longer tells.
    In gradio 6 the page's own script asks the handler (``javascript/lora_workbench_ask.js``).

    Args:
        waits: ``elem_id`` of a button that takes its next click when the answer is there.
    """
    names = _parameters(trigger)
    ends: dict[str, Any] = dict(inputs=list(inputs), outputs=list(outputs), queue=False, show_progress="hidden")
    if "api_visibility" not in names:
        script = {"js" if "js" in names else "_js": js} if js else {}
        done = trigger(fn, api_name=False, **script, **ends)
        if waits:
            listen(done.then, None, js=ANSWERED.format(waits))
        return done
    ends["api_visibility"] = "private"
    if fn is not None:
        handler = gr.on([], fn, **ends)
        last = "true" if getattr(trigger, "event_name", "") == "change" else "false"
        answered = f".finally({ANSWERED.format(waits)})" if waits else ""  # gradio tells `then` not in all cases
        js = ASK.format(number=handler["id"], last=last, prepare=js or "null", answered=answered)
    return trigger(None, js=js, **ends)


def _parameters(trigger: Callable) -> Collection[str]:
    """Their names, looked up once for each kind of event: a page has 500, and to look is most of connecting one."""
    function = inspect.unwrap(getattr(trigger, "func", trigger))
    kind = getattr(function, "__code__", type(trigger))  # gradio 4 makes each event a function, gradio 3 an object
    if kind not in _PARAMETERS:
        _PARAMETERS[kind] = frozenset(inspect.signature(trigger).parameters)
    return _PARAMETERS[kind]


def source_of(trigger: Callable) -> Any:
    """The component whose event ``trigger`` is; None for that of a page or of another event's end."""
    if getattr(trigger, "trigger_after", None) is not None:  # gradio 3 says there whose event the other was
        return None
    return getattr(trigger, "trigger", None) or getattr(trigger, "__self__", None)


def functions(page: gr.Blocks) -> Iterator[Callable[..., Any]]:
    """The handlers that a page has connected, in whatever way."""
    found = page.fns.values() if isinstance(page.fns, dict) else page.fns
    return (block.fn for block in found if block.fn is not None)


def check_connected(page: gr.Blocks) -> None:
    """See that every handler of a page says what it does.

    Raises:
        TypeError: one was connected past :func:`listen`.
    """
    for function in functions(page):
        needs_of(function)


def page(**options: Any) -> gr.Blocks:
    """``gr.Blocks`` with the options that it knows; some of them belong to :func:`launch` in later versions."""
    return gr.Blocks(analytics_enabled=False, **accepted(gr.Blocks.__init__, **options))


@contextmanager
def part(**options: Any) -> Iterator[gr.Blocks]:
    """:func:`page` for one that a web UI renders within its own, and that never serves itself.

    The web UI makes the configuration and the app of the whole page, so the part gets none; and gradio 4 looks up the
    signature of a class each time that it makes a component or an event of it, which here is done once for each.
    """
    with _replaced(_shortened()):
        made = page(**options)
        made.get_config_file = lambda *_args, **_options: {}  # instead of the class's, which is there again afterwards
        try:
            with made:
                yield made
        finally:
            del made.get_config_file


class _Inspect:
    """``inspect`` for gradio's modules, with a memory."""

    def __init__(self) -> None:
        self.signature = lru_cache(maxsize=None)(inspect.signature)
        self.getfullargspec = lru_cache(maxsize=None)(inspect.getfullargspec)

    def __getattr__(self, name: str) -> Any:
        return getattr(inspect, name)


def _shortened() -> Iterator[tuple[Any, str, Any]]:
    """Owner, name and replacement of what takes gradio long; nothing for what a version does not have."""
    remembering = _Inspect()
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] != "gradio":
            continue
        found = vars(module)
        if found.get("inspect") is inspect:
            yield module, "inspect", remembering
        if callable(folder := found.get("get_upload_folder")):
            yield module, "get_upload_folder", lru_cache(maxsize=None)(folder)
    app = gr.routes.App
    if hasattr(app, "create_app"):
        yield app, "create_app", staticmethod(lambda *_args, **_options: None)


@contextmanager
def _replaced(changes: Iterator[tuple[Any, str, Any]]) -> Iterator[None]:
    before = []
    try:
        for owner, name, value in list(changes):
            before.append((owner, name, vars(owner)[name]))  # a static method as it is, not what it gives
            setattr(owner, name, value)
        yield
    finally:
        for owner, name, value in before:
            setattr(owner, name, value)


def launch(page: gr.Blocks, **options: Any) -> Any:
    """``page.launch`` without waiting, sharing or asking any other machine; returns the FastAPI app."""
    page.queue()
    quiet = dict(
        share=False,
        inbrowser=False,
        quiet=True,
        prevent_thread_lock=True,
        show_api=False,
        ssr_mode=False,
        footer_links=[],
        enable_monitoring=False,
        mcp_server=False,
    )
    app, _, _ = page.launch(**accepted(page.launch, **quiet, **options))
    return app
