"""Merge: make LoRAs from LoRAs and checkpoints, see what it costs, see it, save it."""

from __future__ import annotations

from typing import Any

import gradio as gr

from lib_lora.access import looks
from lib_lora.adapters.formula import parse
from lib_lora.ui.actions import NO_MESSAGE, act
from lib_lora.ui.base_style_panel import BaseStylePanel
from lib_lora.ui.compat import listen
from lib_lora.ui.files import Pictures
from lib_lora.ui.lora_picture import LoraPictures
from lib_lora.ui.merge_formula import FormulaPanel
from lib_lora.ui.merge_others import ExtractPanel, ResizePanel
from lib_lora.ui.merge_result import ResultPanel
from lib_lora.ui.merge_style import StylePanel
from lib_lora.ui.poll import Poller
from lib_lora.workbench import Workbench


class MergeTab:
    """Five ways to a LoRA, and beside them what came out."""

    def __init__(self, workbench: Workbench, pictures: Pictures):
        self.result = ResultPanel(workbench, pictures)
        of_loras = LoraPictures(workbench, pictures)
        self.formula = FormulaPanel(workbench, self.result.remember, of_loras)
        self.resize = ResizePanel(workbench, self.result.remember, of_loras)
        self.extract = ExtractPanel(workbench, self.result.remember)
        self.style = StylePanel(workbench, self.result, of_loras)
        self.base_style = BaseStylePanel(workbench, pictures)

    def build(self) -> None:
        """The ways to a LoRA on the left, what came of it on the right."""
        with gr.Row(elem_classes=["lw-desk"]):
            with gr.Column(scale=5, min_width=420, elem_classes=["lw-controls"]):
                self._build_ways()
            with gr.Column(scale=5, min_width=380, elem_classes=["lw-look"]):
                self.result.build()

    def _build_ways(self) -> None:
        with gr.Tabs(elem_id="lw_merge_ways") as self.ways:
            for name, key, part in (
                ("Subtract", "style", self.style),
                ("Formula", "formula", self.formula),
                ("Resize", "resize", self.resize),
                ("Extract", "extract", self.extract),
                ("Base style", "base", self.base_style),
            ):
                with gr.TabItem(name, id=key, elem_id=f"lw_merge_way_{key}"):
                    part.build()

    def connect(self, poller: Poller) -> None:
        """All parts."""
        for part in (self.formula, self.resize, self.extract, self.base_style):
            part.connect(poller)
        self.style.connect(poller, self.ways, self.formula)
        parts = (self.style, self.formula, self.resize, self.extract)
        self.result.connect(poller, {part.way: part.asking for part in parts})
        calculate, prompt = self.formula.calculate.click, self.result.prompt
        listen(calculate, self.suggest, [prompt, self.formula.formula], [prompt])
        chosen = [self.ways, *self.style.asking]
        act(self.base_style.subtract.click, self.to_style, self.base_style.subtraction, self.base_style.message, chosen)

    @looks
    def suggest(self, prompt: str, formula: str) -> Any:
        """A prompt for the preview of a formula, where there is none yet."""
        return prompt or self.result.suggested_prompt(parse(formula)[0].name)

    @looks
    def to_style(self, name: str, style: str | None, strength: str) -> list[Any]:
        """Carry the base style to where it is subtracted, in view."""
        self.base_style.formula(name, style, strength)
        names = [lora.name for lora in self.result.workbench.list_loras()]
        chosen = [gr.update(choices=names, value=value) for value in (style, name)]
        return [NO_MESSAGE, gr.update(selected="style"), *chosen, gr.update(value=strength)]
