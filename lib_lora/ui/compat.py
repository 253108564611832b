"""What differs between gradio 3.41, 4.40 and 6, told by what a function accepts, never by a version number."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import gradio as gr

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

    Every handler of ours is short (long work is a job), so none of them queues or covers its outputs with a spinner.

    Args:
        js: function expression that runs in the page; its result replaces the inputs.
    """
    names = inspect.signature(trigger).parameters
    script = {"js" if "js" in names else "_js": js} if js else {}
    private = {"api_visibility": "private"} if "api_visibility" in names else {"api_name": False}
    return trigger(
        fn,
        inputs=list(inputs),
        outputs=list(outputs),
        queue=False,
        **accepted(trigger, show_progress="hidden"),
        **script,
        **private,
    )


def page(**options: Any) -> gr.Blocks:
    """``gr.Blocks`` with the options that it knows; some of them belong to :func:`launch` in later versions."""
    return gr.Blocks(analytics_enabled=False, **accepted(gr.Blocks.__init__, **options))


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
