"""The tab inside a web UI. Everything is imported and built when the web UI asks for it, not when it starts."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import gradio as gr

from lib_lora.errors import UserError
from lib_lora.hosts.detect import web_ui_host
from lib_lora.ui import compat
from lib_lora.ui.app import build_page
from lib_lora.ui.files import Pictures
from lib_lora.workbench import Workbench

TITLE, ELEMENT = "LoRA Workbench", "lora_workbench"


@lru_cache(maxsize=1)
def workbench() -> Workbench:
    """The one of this process: "Reload UI" builds the tab anew, while a training goes on."""
    return Workbench(web_ui_host())


def tabs() -> list[tuple[gr.Blocks, str, str]]:
    """For ``script_callbacks.on_ui_tabs``; where we cannot work, the tab says why."""
    try:
        bench = workbench()
    except UserError as error:
        return [(_notice(str(error)), TITLE, ELEMENT)]
    page = build_page(bench, Pictures(bench.host.paths), standalone=False)
    for component in page.blocks.values():
        component.do_not_save_to_config = True  # else ui-config.json would freeze today's defaults for ever
    return [(page, TITLE, ELEMENT)]


def add_routes(app: Any) -> None:
    """For ``script_callbacks.on_app_started``: the pictures of runs and grids."""
    try:
        Pictures(workbench().host.paths).serve_on(app)
    except UserError:
        return  # the tab has said why


def _notice(text: str) -> gr.Blocks:
    with compat.page() as page:
        gr.Markdown(f"### {TITLE}\n\n{text}")
    return page
