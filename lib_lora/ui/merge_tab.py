"""Merge: make LoRAs from LoRAs and checkpoints, see what it costs, see it, save it."""

from __future__ import annotations

from typing import Any

import gradio as gr

from lib_lora.access import looks
from lib_lora.ui.actions import act
from lib_lora.ui.base_style_panel import BaseStylePanel
from lib_lora.ui.files import Pictures
from lib_lora.ui.merge_formula import FormulaPanel
from lib_lora.ui.merge_others import ExtractPanel, ResizePanel
from lib_lora.ui.merge_result import ResultPanel
from lib_lora.ui.poll import Poller
from lib_lora.workbench import Workbench


class MergeTab:
    """Four ways to a LoRA, and below them what came out."""

    def __init__(self, workbench: Workbench, pictures: Pictures):
        self.result = ResultPanel(workbench, pictures)
        self.formula = FormulaPanel(workbench, self.result.remember)
        self.resize = ResizePanel(workbench, self.result.remember)
        self.extract = ExtractPanel(workbench, self.result.remember)
        self.base_style = BaseStylePanel(workbench, pictures)

    def build(self) -> None:
        with gr.Tabs(elem_id="lw_merge_ways") as self.ways:
            for name, key, part in (
                ("Add and subtract", "formula", self.formula),
                ("Resize or convert", "resize", self.resize),
                ("Extract from checkpoints", "extract", self.extract),
                ("Base style", "base", self.base_style),
            ):
                with gr.TabItem(name, id=key, elem_id=f"lw_merge_way_{key}"):
                    part.build()
        self.result.build()

    def connect(self, poller: Poller) -> None:
        for part in (self.formula, self.resize, self.extract, self.base_style):
            part.connect(poller)
        self.result.connect(poller, {part.way: part.asking for part in (self.formula, self.resize, self.extract)})
        subtract = [*self.base_style.subtraction, self.formula.shown]
        shown = [self.formula.formula, *self.formula.filled, self.ways]
        act(self.base_style.subtract.click, self.to_formula, subtract, self.base_style.message, shown)

    @looks
    def to_formula(self, *values: Any) -> list[Any]:
        """Carry the base style's formula into the rows, in view."""
        *chosen, shown = values
        formula = self.base_style.formula(*chosen)
        message, *cells = self.formula.fill_rows(formula, shown)
        return [message, formula, *cells, gr.update(selected="formula")]
