"""The accordion below txt2img and img2img: a LoRA whose weight follows the steps, or differs from block to block."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gradio as gr
from gradio.context import Context

from lib_lora.access import looks
from lib_lora.ui.compat import listen

INFOTEXT = "LoRA Workbench"  # the accordion's key there

HELP = (
    "Weights at places of the sampling, such as `0.8@0,0.5@0.3,0@1`; a number alone is the same all the way. "
    "The prompt understands it too: `<lora:NAME:0.8@0,0@1:lbw=OUTS:start=0.2:stop=0.8>`."
)

WRITTEN = re.compile(r"<lora:([^:<>]+):([^:<>]*)(?::lbw=([^:<>]*))?>")  # what tag() makes


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
    fresh = _Choices(names)
    listen(Context.root_block.load, fresh.update, [], [lora])  # the web UI builds this part of the page only once
    listen(lora.focus, fresh.update, [], [lora])
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


def infotext_fields(parts: Sequence[Any]) -> list[tuple[Any, Callable[[Mapping[str, str]], str]]]:
    """For the script's ``infotext_fields``: what a picture was made with comes back into the fields.

    An infotext without ours empties them, else the next picture would be another one.
    """
    return [(part, _Field(place).read) for place, part in enumerate(parts)]


class _Field:
    """One of the fields, by its place in what :func:`build` returns."""

    def __init__(self, place: int):
        self.place = place

    def read(self, infotext: Mapping[str, str]) -> str:
        found = WRITTEN.fullmatch(infotext.get(INFOTEXT) or "")
        return (found[self.place + 1] or "") if found else ("", "1", "")[self.place]


class _Choices:
    """The names of the LoRA files as they are now."""

    def __init__(self, names: Callable[[], Sequence[str]]):
        self._names = names

    @looks
    def update(self) -> Any:
        return gr.update(choices=["", *self._names()])
