"""The tab inside a web UI. Everything is imported and built when the web UI asks for it, not when it starts."""

from __future__ import annotations

import traceback
from functools import lru_cache
from typing import Any

import gradio as gr

from lib_lora.api.routes import add_api
from lib_lora.errors import UserError
from lib_lora.hosts.access import web_ui_access
from lib_lora.hosts.detect import web_ui_host
from lib_lora.places import Places
from lib_lora.ui import prompt_weights
from lib_lora.ui.app import build_page
from lib_lora.ui.dataset.uploads import Uploads
from lib_lora.ui.files import Pictures
from lib_lora.ui.glances import GLANCES
from lib_lora.ui.notice import notice
from lib_lora.ui.poll import News
from lib_lora.ui.words import Words
from lib_lora.workbench import Workbench

NEWS = News()


@lru_cache(maxsize=1)
def workbench() -> Workbench:
    """The one of this process: "Reload UI" builds the tab anew, while a training goes on."""
    return Workbench(web_ui_host())


@lru_cache(maxsize=1)
def uploads() -> Uploads:
    """The sets that pages are filling now."""
    return Uploads(workbench().host.paths.places)


def page() -> gr.Blocks:
    """The tab; where we cannot work, it says why."""
    try:
        bench = workbench()
    except UserError as error:
        return notice(str(error))
    access, pictures = web_ui_access(), Pictures(bench.host.paths)
    built = build_page(bench, pictures, standalone=False, access=access, news=NEWS, uploads=uploads())
    for component in built.blocks.values():
        component.do_not_save_to_config = True  # else ui-config.json would freeze today's defaults for ever
    return built


def add_routes(app: Any) -> None:
    """For ``script_callbacks.on_app_started``: pictures, news for the page, and the HTTP API."""
    try:
        bench = workbench()
    except UserError:
        return  # the tab has said why
    access = web_ui_access()
    Pictures(bench.host.paths).serve_on(app, access)
    NEWS.serve_on(app, access)
    GLANCES.serve_on(app, access)
    Words().serve_on(app)
    uploads().serve_on(app, access)
    add_api(app, bench, access)


def add_plot_axes() -> None:
    """For ``script_callbacks.on_before_ui``: epoch, weight and block weights in the web UI's X/Y/Z plot."""
    from lib_lora.hosts.webui.settings import data_folder
    from lib_lora.hosts.webui.xyz_axes import add_axes

    add_axes(Places(data_folder()).block_presets)


def build_prompt_weights(prefix: str) -> list[Any]:
    """The accordion of txt2img or img2img; nothing where that is not possible, or not wanted."""
    weights = _prompt_weights()
    if weights is None or not weights.are_wanted():
        return []
    bench = workbench()
    return prompt_weights.build(lambda: [lora.name for lora in bench.list_loras()], prefix)


def apply_prompt_weights(p: Any, lora: str, weight: str, blocks: str) -> None:
    """Attach what the accordion and the prompts of ``p`` ask for; what cannot be done is said below the image."""
    weights = _prompt_weights()
    if weights is None:
        return
    extra = prompt_weights.tag(lora, weight, blocks)
    if extra:
        p.extra_generation_params[prompt_weights.INFOTEXT] = extra
    try:
        for note in weights.begin_batch(p, extra):
            p.comment(f"LoRA Workbench: {note}")
    except Exception as error:  # whatever it is, the user sees why the image has no LoRA
        if not isinstance(error, UserError):
            traceback.print_exc()
        p.comment(f"LoRA Workbench: {error or type(error).__name__}. The image was made without these LoRAs")


@lru_cache(maxsize=1)
def _prompt_weights() -> Any:
    """Of this web UI, None where we cannot work."""
    try:
        return workbench().host.prompt_weights()
    except UserError:
        return None
