"""A tab that says something in place of its parts."""

from __future__ import annotations

import gradio as gr

TITLE, ELEMENT = "LoRA Workbench", "lora_workbench"


def notice(text: str) -> gr.Blocks:
    """A tab of nothing but ``text``, in Markdown."""
    with gr.Blocks(analytics_enabled=False) as page:
        gr.Markdown(f"### {TITLE}\n\n{text}")
    return page
