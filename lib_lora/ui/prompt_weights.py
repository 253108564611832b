"""The accordion below txt2img and img2img: a LoRA whose weight follows the steps, or differs from block to block."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import gradio as gr

HELP = (
    "Weights at places of the sampling, such as `0.8@0,0.5@0.3,0@1`; a number alone is the same all the way. "
    "The prompt understands it too: `<lora:NAME:0.8@0,0@1:lbw=OUTS:start=0.2:stop=0.8>`."
)


def build(names: Callable[[], Sequence[str]], prefix: str) -> list[Any]:
    """The components, in the order in which :func:`tag` takes their values.

    Args:
        names: of the LoRA files.
        prefix: of the element ids, one for each tab of the web UI.
    """
    with gr.Accordion("LoRA Workbench: weights over the steps", open=False, elem_id=f"{prefix}_lw_weights"):
        gr.Markdown(HELP)
        with gr.Row():
            lora = gr.Dropdown(
                choices=["", *names()], value="", label="Scheduled LoRA", elem_id=f"{prefix}_lw_lora",
                allow_custom_value=True,
            )  # fmt: skip
            weight = gr.Textbox("1", label="Weight over the steps", elem_id=f"{prefix}_lw_weight", max_lines=1)
            blocks = gr.Textbox("", label="Block weights of it", elem_id=f"{prefix}_lw_blocks", max_lines=1)
    parts = [lora, weight, blocks]
    for component in parts:
        component.do_not_save_to_config = True
    return parts


def tag(lora: str | None, weight: str, blocks: str) -> str:
    """What the fields say as a tag for the prompt; empty while no LoRA is chosen."""
    if not lora:
        return ""
    curve = weight.strip() or "1"
    # a position makes it ours even where the weight is one number
    keyed = curve if "@" in curve else f"{curve}@0"
    return f"<lora:{lora}:{keyed}{f':lbw={blocks.strip()}' if blocks.strip() else ''}>"
