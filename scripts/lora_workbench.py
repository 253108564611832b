"""Entry point for AUTOMATIC1111 and Forge: adds the tab *LoRA Workbench* to the web UI."""

import gradio as gr
from modules import script_callbacks

NOTICE = """\
### LoRA Workbench

This version does not train inside the web UI yet. It runs standalone: open a terminal in this extension's folder, run

    python3 install.py demo

LoRA files that it saves work in this web UI like any other: copy them into `models/Lora`.
"""


def on_ui_tabs():
    """The tab, in the form that ``script_callbacks.on_ui_tabs`` expects."""
    with gr.Blocks(analytics_enabled=False) as tab:
        gr.Markdown(NOTICE)
    return [(tab, "LoRA Workbench", "lora_workbench")]


script_callbacks.on_ui_tabs(on_ui_tabs)
