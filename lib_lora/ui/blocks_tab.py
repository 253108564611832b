"""Blocks: a slider for each block of the U-Net, seen at once, saved as a LoRA of its own."""

from __future__ import annotations

from functools import partial
from typing import Any

import gradio as gr

from lib_lora.access import changes, looks
from lib_lora.lora_files import new_lora_path
from lib_lora.tools.blocks import bake
from lib_lora.ui import blocks_view as view
from lib_lora.ui import html
from lib_lora.ui.actions import NO_MESSAGE, act, panel
from lib_lora.ui.blocks_desk import SAVED_AS, BlocksDesk
from lib_lora.ui.blocks_panels import RangePanel, SymptomPanel
from lib_lora.ui.blocks_scan_panel import ScanPanel
from lib_lora.ui.blocks_stage import Stage, weight_of_lora
from lib_lora.ui.blocks_taste_panel import TastePanel
from lib_lora.ui.choices import choices, lora_names
from lib_lora.ui.compat import SKIP
from lib_lora.ui.files import Pictures
from lib_lora.ui.lora_picture import LoraPictures
from lib_lora.ui.merge_fields import BaseField
from lib_lora.ui.merge_rows import ALL, with_row
from lib_lora.ui.merge_tab import MergeTab
from lib_lora.ui.poll import Poller
from lib_lora.workbench import Workbench

NO_LORAS = "There is no LoRA yet. Train one, or put one into the LoRA folder."


class BlocksTab:
    """Sliders and text are two views of one vector; the text is what counts."""

    def __init__(self, workbench: Workbench, pictures: Pictures):
        self.workbench = workbench
        self.desk = BlocksDesk(workbench)
        self.loras = lora_names(workbench)
        self.of_loras = LoraPictures(workbench, pictures)
        self.stage = Stage(self.desk, pictures)
        self.scan = ScanPanel(self.desk, pictures, self.stage)
        self.symptoms = SymptomPanel(self.desk)
        self.range = RangePanel(self.desk)
        self.base_field = BaseField(workbench, "lw_blocks", " of the tuned LoRA")
        self.taste = TastePanel(self.desk, pictures, self.stage)

    # -- components ---------------------------------------------------------------------------------------------------

    def build(self) -> None:
        """Sliders and what goes with them on the left, pictures on the right."""
        with gr.Row(elem_classes=["lw-desk"]):
            with gr.Column(scale=5, min_width=420, elem_classes=["lw-controls"]):
                self._build_controls()
            with gr.Column(scale=4, min_width=340, elem_classes=["lw-look"]):
                self.stage.build()

    def _build_controls(self) -> None:
        with gr.Row(elem_classes=["lw-fields"]):
            with self.of_loras.beside("lw_blocks_lora", scale=3) as self.picture:
                self.lora = gr.Dropdown(
                    choices=self.loras(), value=None, label="LoRA to tune", elem_id="lw_blocks_lora", interactive=True,
                    allow_custom_value=True,
                )  # fmt: skip
            self.preset = gr.Dropdown(
                choices=list(self.desk.presets()),
                value="ALL",
                label="Block preset",
                elem_id="lw_blocks_preset",
                interactive=True,
                scale=2,
            )
            self.scale = gr.Number(1.0, label="LoRA weight", elem_id="lw_blocks_scale", scale=1, min_width=120)
        self.about = panel("lw_blocks_about")
        self.sliders = panel("lw_blocks_sliders", _no_loras())
        self.edit = gr.Textbox("", label="Moved sliders", elem_id="lw_blocks_edit", elem_classes=["lw-hidden"])
        with gr.Row(elem_classes=["lw-fields", "lw-tight"]):
            self.vector = gr.Textbox(
                "",
                label="Block weights as text",
                elem_id="lw_blocks_vector",
                lines=1,
                scale=8,
                info="numbers in the order of the sliders, a preset's name, or te=0.5,IN04-OUT05=0.8,M00.attn=0",
            )
            self.undo = gr.Button(
                "↶ Undo", elem_id="lw_blocks_undo", interactive=False, min_width=80, scale=1, size="sm"
            )
            self.redo = gr.Button(
                "↷ Redo", elem_id="lw_blocks_redo", interactive=False, min_width=80, scale=1, size="sm"
            )
        self.message = panel("lw_blocks_message")
        self.taste.build()
        self.symptoms.build()
        self.range.build()
        self.scan.build()
        with gr.Row(elem_classes=["lw-fields"]):
            self.name = gr.Textbox("", label="Save tuned LoRA as", info=SAVED_AS, elem_id="lw_blocks_name")
            self.base = self.base_field.build()
        with gr.Row(elem_classes=["lw-actions"]):
            self.save = gr.Button("Save as LoRA", elem_id="lw_blocks_save")
            self.merge = gr.Button("Use in Merge →", elem_id="lw_blocks_merge")
        self.saved = panel("lw_blocks_saved")
        self.prompt_text = panel("lw_blocks_tag")

    # -- events -------------------------------------------------------------------------------------------------------

    def connect(self, poller: Poller, tabs: gr.Tabs, merge: MergeTab) -> None:
        """``merge``: where the link carries the LoRA along, with its weight and blocks."""
        now = [self.vector, self.undo, self.redo, self.preset, self.prompt_text]
        which = [self.lora, self.scale]
        shown = [self.about, self.sliders, self.name, *now, *self.stage.fields]
        act(self.lora.change, self.open, which, self.message, shown)

        def changing(trigger: Any, fn: Any, inputs: Any, outputs: Any) -> None:
            """Connect what may change the weights; the picture follows."""
            self.stage.follows(act(trigger, fn, inputs, self.message, outputs))

        def returned(trigger: Any, state: Any) -> None:
            changing(trigger, self.set_again, [*which, state], now)

        self.stage.connect(poller, self.lora, self.scale, self.vector, returned)
        changing(self.preset.input, self.set, [*which, self.preset], now)
        changing(self.edit.change, self.moved, [*which, self.edit], now)
        for trigger in (self.vector.submit, self.vector.blur):
            changing(trigger, self.set, [*which, self.vector], now)
        changing(self.undo.click, self.step_back, which, now)
        changing(self.redo.click, self.step_on, which, now)
        changing(self.scale.change, self.rescaled, which, [self.prompt_text])
        self.symptoms.connect(self.lora, self.scale, self.now, now, self.stage.follows)
        self.range.connect(self.lora, self.scale, self.preset, self.now, now, self.stage.follows)
        self.scan.connect(poller, self.lora, self.scale)
        act(self.save.click, self.save_tuned, [self.lora, self.vector, self.scale, self.name, self.base], self.saved)
        self.other = merge.formula
        there = [self.other.formula, self.other.shown]
        filled = [tabs, merge.ways, self.other.formula, *self.other.filled]
        act(self.merge.click, self.to_merge, [*which, *there], self.saved, filled)
        to_merge = (self.other, tabs, merge.ways)
        self.taste.connect(poller, self.lora, self.scale, self.now, now, self.stage.follows, to_merge)
        poller.keep(self.now_choices, [self.lora, self.picture], [self.lora])

    @looks
    def now_choices(self, name: str | None) -> list[Any]:
        """The LoRAs there are; the chosen one stays, and is shown."""
        return [choices(self.loras(), name), self.of_loras.of(name)]

    @looks
    def open(self, name: str | None, weight: float | None) -> list[Any]:
        """Show another LoRA, as it was left."""
        fields = [SKIP] * len(self.stage.fields)
        if not name:
            return [NO_MESSAGE, "", _no_loras(), *[SKIP] * 6, *fields]
        entry, shape = self.desk.entry(name), self.desk.shape(name)
        return [
            "",
            view.about(entry, shape),
            view.sliders(shape),
            f"{name}-tuned",
            *self.now(name, weight),
            *self.stage.filled(entry),
        ]

    @changes
    def set(self, name: str | None, weight: float | None, text: str) -> list[Any]:
        """Bring typed weights, or a preset's name, into the layout of the sliders."""
        if name:
            self.desk.set(name, text)
        return [NO_MESSAGE, *self.now(name, weight)]

    @changes
    def set_again(self, name: str | None, weight: float | None, stamped: str) -> list[Any]:
        """Bring back weights; ``stamped`` has a number behind them that makes it another value each time."""
        return self.set(name, weight, stamped.partition("|")[0])

    @changes
    def moved(self, name: str | None, weight: float | None, stamped: str) -> list[Any]:
        """A slider was moved. The page wrote the text itself and may have moved more since, so it is no answer."""
        message, _, *rest = self.set_again(name, weight, stamped)
        return [message, SKIP, *rest]

    @changes
    def step_back(self, name: str, weight: float | None) -> list[Any]:
        """Undo."""
        self.desk.undo(name)
        return [NO_MESSAGE, *self.now(name, weight)]

    @changes
    def step_on(self, name: str, weight: float | None) -> list[Any]:
        """Redo."""
        self.desk.redo(name)
        return [NO_MESSAGE, *self.now(name, weight)]

    @looks
    def rescaled(self, name: str | None, weight: float | None) -> list[Any]:
        """The tag for the prompt at another weight."""
        return [NO_MESSAGE, self.now(name, weight)[-1]]

    @changes
    def save_tuned(self, name: str, vector: str, scale: float | None, new_name: str, base: str) -> str:
        """Write the LoRA with its block weights built in; ``base`` is needed where a layer asks for one."""
        target = new_lora_path(new_name, self.workbench.host.paths.loras)
        weights, scaled = self.desk.parsed(name, vector), weight_of_lora(scale)
        acting_on = partial(self.workbench.weights_of, self.base_field.read(base))
        bake(self.desk.entry(name).path, weights, target, scaled, base=acting_on)
        self.workbench.host.refresh_loras()
        return html.message(f"Saved {target.name}. The block weights are built in.", html.GOOD)

    @looks
    def to_merge(self, name: str | None, weight: float | None, formula: str, shown: int) -> list[Any]:
        """The LoRA as a term of the formula, in view."""
        blocks = ALL if set(self.desk.weights(self.desk.entry(name).name).values()) == {1} else self.desk.text(name)
        formula = with_row(formula, (name, weight_of_lora(weight), blocks))
        message, *cells = self.other.fill_rows(formula, shown)
        return [message, gr.update(selected="merge"), gr.update(selected="formula"), formula, *cells]

    # -- what is shown ------------------------------------------------------------------------------------------------

    def now(self, name: str | None, weight: float | None) -> list[Any]:
        """The text, whether there are steps to undo and to redo, the preset that it is, and the tag for the prompt."""
        if not name:
            return [SKIP, gr.update(interactive=False), gr.update(interactive=False), SKIP, ""]
        history = self.desk.history(name)
        scale = 1.0 if weight is None else weight
        tag = view.prompt(self.desk.prompt(name, scale), self.desk.tag(name, scale))
        steps = gr.update(interactive=history.can_undo), gr.update(interactive=history.can_redo)
        preset = gr.update(choices=self.desk.presets_of(name), value=self.desk.preset(name))
        return [history.text, *steps, preset, tag]


def _no_loras() -> str:
    return html.hint(NO_LORAS, "Train a LoRA", "Train", html.guides("character", "style"))
