"""A picture beside a list of LoRAs: of the one that is chosen, as the wall of Publish has it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from html import escape
from typing import Any

import gradio as gr

from lib_lora.errors import UserError
from lib_lora.ui import html
from lib_lora.ui.actions import panel
from lib_lora.ui.files import Pictures
from lib_lora.workbench import Workbench


class LoraPictures:
    """Pictures of chosen LoRAs, small; a click enlarges one."""

    def __init__(self, workbench: Workbench, pictures: Pictures):
        self.workbench, self.pictures = workbench, pictures

    @contextmanager
    def beside(self, elem_id: str, scale: int = 1) -> Iterator[Any]:
        """A place for the picture, and beside it one for the list, which is built inside.

        Args:
            elem_id: of the list.
            scale: how wide both are in their row.
        """
        # two in a row of 420 px would leave 8 letters of a name
        with gr.Column(scale=scale, min_width=280, elem_classes=["lw-lora-pick"]):
            yield panel(f"{elem_id}_picture")

    def of(self, name: str | None) -> str:
        """The picture of a LoRA; empty where none is chosen, or it is gone. The page shows it when it has it: whether
        there is one is known only after looking for it."""
        with suppress(UserError, OSError):
            if name:
                url = self.pictures.preview_url(name, self.workbench.lora_path(name))
                return (
                    f'<img class="lw-lora-picture" src="{escape(url)}" alt="Preview of {escape(name)}" '
                    f'hidden onload="this.hidden = false" onerror="this.remove()" {html.ZOOMS}>'
                )
        return ""
