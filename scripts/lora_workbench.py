"""Entry point for AUTOMATIC1111 and Forge: adds the tab *LoRA Workbench* to the web UI."""

from modules import script_callbacks

import lib_lora  # noqa: F401 — now, while this folder is on the path; what takes long is imported by the callbacks


def on_ui_tabs():
    """The tab, in the form that ``script_callbacks.on_ui_tabs`` expects."""
    from lib_lora.ui.webui import tabs

    return tabs()


def on_app_started(demo, app):
    """The tab's pictures."""
    from lib_lora.ui.webui import add_routes

    add_routes(app)


script_callbacks.on_ui_tabs(on_ui_tabs)
script_callbacks.on_app_started(on_app_started)
