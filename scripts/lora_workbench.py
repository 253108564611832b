"""Entry point for AUTOMATIC1111 and Forge: adds the tab *LoRA Workbench* to the web UI."""

from modules import script_callbacks

import lib_lora  # noqa: F401 — now, while this folder is on the path; what takes long is imported by the callbacks
from lib_lora.start_up import uncollected


@uncollected()
def on_ui_tabs():
    """The tab, in the form that ``script_callbacks.on_ui_tabs`` expects."""
    from lib_lora.ui.guard import tabs

    return tabs()


@uncollected()
def on_app_started(demo, app):
    """The tab's pictures, and the HTTP API."""
    from lib_lora.ui.webui import add_routes

    add_routes(app)


@uncollected()
def on_ui_settings():
    """A section on the Settings page."""
    from lib_lora.hosts.webui.settings import add_settings

    add_settings()


@uncollected()
def on_before_ui():
    """Axes for the X/Y/Z plot, whose script is loaded by now."""
    from lib_lora.ui.webui import add_plot_axes

    add_plot_axes()


script_callbacks.on_ui_tabs(on_ui_tabs)
script_callbacks.on_ui_settings(on_ui_settings)
script_callbacks.on_before_ui(on_before_ui)
script_callbacks.on_app_started(on_app_started)
