"""Panels of the *Blocks* tab that change weights: symptoms, a range at once, and named presets."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import gradio as gr

from lib_lora.access import changes, looks
from lib_lora.errors import UserError
from lib_lora.models.families import families
from lib_lora.tools.symptoms import BASE_STYLE, STYLE, SYMPTOMS, Proposal
from lib_lora.ui import blocks_view as view
from lib_lora.ui import html
from lib_lora.ui.actions import NO_MESSAGE, act, panel
from lib_lora.ui.blocks_desk import BlocksDesk
from lib_lora.ui.compat import SKIP

Now = Callable[[Any, Any], list[Any]]
Changed = Callable[[Any], None]  # is given the event after which the weights may be others
ROLES = (("the style or character LoRA", STYLE), ("the base-style LoRA that is subtracted", BASE_STYLE))


class SymptomPanel:
    """Buttons for what looks wrong; each shows its change first, and a second button makes it."""

    def __init__(self, desk: BlocksDesk):
        self.desk = desk

    def build(self) -> None:
        """A button for each symptom, and the proposal below them."""
        with gr.Row(elem_classes=["lw-actions", "lw-symptoms"]):
            gr.HTML('<span class="lw-quiet">The picture looks wrong:</span>', elem_classes=["lw-html"])
            self.buttons = [
                gr.Button(symptom.label, size="sm", elem_id=f"lw_blocks_symptom_{symptom.key}", min_width=90)
                for symptom in SYMPTOMS
            ]
        with gr.Row(elem_classes=["lw-fields"]):
            self.role = gr.Dropdown(
                choices=[label for label, _ in ROLES],
                value=ROLES[0][0],
                label="This is",
                elem_id="lw_blocks_role",
                interactive=True,
                min_width=240,
            )
        self.shown = panel("lw_blocks_proposal")
        self.chosen = gr.State(None)  # (symptom, number of its measure)
        with gr.Row(elem_classes=["lw-actions"], visible=False) as self.row:
            self.do = gr.Button("Make this change", elem_id="lw_blocks_symptom_do", size="sm")
            self.more = gr.Button("That was not enough", elem_id="lw_blocks_symptom_more", size="sm")

    def connect(self, lora: Any, scale: Any, now: Now, outputs: list[Any], changed: Changed) -> None:
        """``now`` gives the values of ``outputs`` after a change; ``changed`` draws the preview anew."""
        which = [lora, scale, self.role]
        offered = [self.chosen, self.row, self.more]
        for button, symptom in zip(self.buttons, SYMPTOMS, strict=True):
            act(button.click, partial(self.offer, (symptom.key, 0)), which, self.shown, offered)
        act(self.more.click, self.offer_next, [self.chosen, *which], self.shown, offered)
        done = [self.row, scale, *outputs]
        changed(act(self.do.click, partial(self.apply, now), [self.chosen, *which], self.shown, done))

    @looks
    def offer(self, chosen: tuple[str, int], name: str | None, weight: float | None, role: str) -> list[Any]:
        """Say what the measure would change."""
        found = self._proposal(chosen, name, weight, role)
        symptom = next(s for s in SYMPTOMS if s.key == chosen[0])
        more, row = gr.update(interactive=not found.last), gr.update(visible=not (found.empty and found.last))
        return [view.proposal(found, symptom.label, _role(role)), chosen, row, more]

    @looks
    def offer_next(
        self, chosen: tuple[str, int] | None, name: str | None, weight: float | None, role: str
    ) -> list[Any]:
        """The next proposal for the same symptom."""
        if chosen is None:
            raise UserError("Nothing was tried yet", fix="Say first what looks wrong")
        return self.offer((chosen[0], chosen[1] + 1), name, weight, role)

    @changes
    def apply(self, now: Now, chosen: tuple[str, int], name: str | None, weight: float | None, role: str) -> list[Any]:
        """Carry out the proposal that is shown."""
        found = self._proposal(chosen, name, weight, role)
        if found.empty:
            raise UserError("There is nothing to change in this LoRA", fix="See what to do in the other one")
        self.desk.apply(name, found)
        new = found.weight[1]
        message = html.message("Changed. Undo takes it back; Preview shows what it does.", html.GOOD)
        return [message, gr.update(visible=True), new if new != weight else SKIP, *now(name, new)]

    def _proposal(self, chosen: tuple[str, int], name: str | None, weight: float | None, role: str) -> Proposal:
        return self.desk.proposal(name, *chosen, 1.0 if weight is None else float(weight), _role(role))


class RangePanel:
    """Scale a range of blocks; keep weights under a name; take over lists of the Block Weight extension."""

    def __init__(self, desk: BlocksDesk):
        self.desk = desk

    def build(self) -> None:
        """Fields to scale a range of blocks, to save a preset and to import some."""
        with gr.Accordion("Scale a range, presets", open=False, elem_id="lw_blocks_more"):
            with gr.Row(elem_classes=["lw-actions"]):
                names = list(dict.fromkeys(name for one in families().values() for name in one.blocks.names))
                self.first, self.last = (
                    gr.Dropdown(choices=names, value=value, label=label, elem_id=f"lw_blocks_{key}", interactive=True)
                    for key, value, label in (("first", "OUT03", "From block"), ("last", "OUT11", "To block"))
                )
                self.factor = gr.Number(0.8, label="Times", elem_id="lw_blocks_factor")
                self.scale = gr.Button("Scale these blocks", elem_id="lw_blocks_scale_range")
            with gr.Row(elem_classes=["lw-actions"]):
                self.name = gr.Textbox("", label="Save weights as preset", elem_id="lw_blocks_preset_name")
                self.replace = gr.Checkbox(False, label="replace mine of this name", elem_id="lw_blocks_replace")
                self.save = gr.Button("Save preset", elem_id="lw_blocks_preset_save")
            with gr.Row(elem_classes=["lw-actions"]):
                self.list = gr.Textbox(
                    "",
                    label="Presets of LoRA Block Weight",
                    info="lines of lbwpresets.txt or elempresets.txt",
                    lines=2,
                    elem_id="lw_blocks_import_text",
                )
                self.take = gr.Button("Import presets", elem_id="lw_blocks_import")
            self.message = panel("lw_blocks_more_message")

    def connect(self, lora: Any, weight: Any, preset: Any, now: Now, outputs: list[Any], changed: Changed) -> None:
        """As :meth:`SymptomPanel.connect`; ``preset`` gets the new names."""
        scaling = [lora, weight, self.first, self.last, self.factor]
        changed(act(self.scale.click, partial(self.scale_range, now), scaling, self.message, outputs))
        act(self.save.click, self.save_preset, [lora, self.name, self.replace], self.message, [preset])
        act(self.take.click, self.import_presets, [lora, self.list, self.replace], self.message, [preset])

    @changes
    def scale_range(
        self, now: Now, name: str, weight: float | None, first: str, last: str, factor: float | None
    ) -> list[Any]:
        """Multiply the weights from block ``first`` to ``last``."""
        if factor is None:
            raise UserError("The factor is empty", where="Times", fix="0.8 makes the blocks a fifth weaker")
        self.desk.scale(name, first, last, factor)
        return [NO_MESSAGE, *now(name, weight)]

    @changes
    def save_preset(self, name: str, preset: str, replace: bool) -> list[Any]:
        """Keep the weights under a name; one that exists only with ``replace``."""
        self.desk.save_preset(name, preset, replace)
        message = html.message(f"Saved. {preset.strip()} can be used in Merge too.", html.GOOD)
        return [message, gr.update(choices=self.desk.presets_of(name), value=preset.strip())]

    @changes
    def import_presets(self, name: str | None, text: str, replace: bool) -> list[Any]:
        """Take presets from the text of another program's list."""
        done = self.desk.import_presets(text, replace)
        return [html.message(done, html.GOOD), gr.update(choices=self.desk.presets_of(name))]


def _role(label: str) -> str:
    return dict(ROLES)[label]
