"""Keep the chosen cell of a grid: a LoRA under its final name, with its picture and its card."""

from __future__ import annotations

from functools import partial
from typing import Any

import gradio as gr

from lib_lora.access import changes, looks
from lib_lora.adapters.blocks import BlockWeights
from lib_lora.errors import UserError
from lib_lora.lora_files import new_lora_path
from lib_lora.tools.export import Card, export_lora
from lib_lora.tools.picks import Pick
from lib_lora.ui import html
from lib_lora.ui.actions import NO_MESSAGE, act
from lib_lora.ui.actions import panel as place_for
from lib_lora.ui.blocks_desk import SAVED_AS
from lib_lora.ui.compat import SKIP
from lib_lora.ui.grid_place import GridPlace
from lib_lora.workbench import Workbench

GRID, CELL = "the grid", "the chosen picture"


class GridExport:
    """Name, activation text, what is built in, and the picture of the card."""

    def __init__(self, workbench: Workbench):
        self.workbench = workbench

    def build(self) -> None:
        """What can be done with the chosen cell; hidden before one is chosen."""
        with gr.Column(visible=False, elem_id="lw_grid_export") as self.panel:
            with gr.Row(elem_classes=["lw-actions"]):
                self.keep = gr.Button("Keep this one", elem_id="lw_grid_keep", size="sm")
                self.tune = gr.Button("Tune its blocks →", elem_id="lw_grid_tune", size="sm")
                self.publish = gr.Button("Publish →", elem_id="lw_grid_publish", size="sm")
            with gr.Row(elem_classes=["lw-fields"]):
                self.name = gr.Textbox("", label="Keep as", info=SAVED_AS, elem_id="lw_grid_name")
                self.activation = gr.Textbox(
                    "", label="Activation text", info="the web UI adds it to the prompt", elem_id="lw_grid_activation"
                )
            with gr.Row(elem_classes=["lw-fields"]):
                self.picture = gr.Radio(
                    choices=[GRID, CELL], value=GRID, label="Preview picture", elem_id="lw_grid_picture"
                )
                self.built_in = gr.Checkbox(
                    True,
                    label="Build the weight into the file",
                    info="else the card proposes it",
                    elem_id="lw_grid_built_in",
                )
        self.saved = place_for("lw_grid_saved")

    @property
    def filled(self) -> list[Any]:
        """In the order of :meth:`of_choice`."""
        return [self.name, self.activation]

    def connect(self, run: gr.Dropdown, tabs: gr.Tabs, blocks_lora: gr.Dropdown, publish_lora: gr.Dropdown) -> None:
        """``blocks_lora`` and ``publish_lora``: the fields of other tabs that get the file."""
        what = [run, self.name, self.activation, self.picture, self.built_in]
        act(self.keep.click, self.write, what, self.saved)
        for button, tab, lora in ((self.tune, "blocks", blocks_lora), (self.publish, "publish", publish_lora)):
            act(button.click, partial(self.carry, tab), [run, self.name], self.saved, [tabs, lora])

    def of_choice(self, name: str | None) -> list[Any]:
        """A name and an activation text for the chosen cell: ``mira-e4-w0.8`` and the trigger."""
        try:
            place = GridPlace(self.workbench, name or "")
            pick, config = place.picks().chosen, place.config()
        except UserError:
            return [SKIP, SKIP]
        if pick is None:
            return ["", config.trigger if config else ""]
        stem = f"{config.name}-{pick.file}" if config and pick.of_run else pick.file.rsplit("/")[-1]
        parts = [stem, f"w{pick.weight:g}" if pick.weight != 1 else "", pick.blocks]
        return ["-".join(filter(None, parts)), config.trigger if config else ""]

    @changes
    def write(self, run: str, name: str, activation: str, picture: str, built_in: bool) -> str:
        """Keep the chosen cell as a LoRA of its own, with a card and a picture for web UIs."""
        place = GridPlace(self.workbench, run)
        pick = place.chosen()
        target = new_lora_path(name, self.workbench.host.paths.loras)
        text = place.blocks(pick)
        if text and not built_in:
            fix = "Let them be built in, or choose a cell without block weights"
            raise UserError("Block weights can only be built in", where="Build the weight into the file", fix=fix)
        written = export_lora(
            place.source(pick),
            target,
            Card(activation.strip(), 1.0 if built_in else pick.weight, notes=f"{run}: {pick}"),
            place.sheet() if picture == GRID else place.picture(pick),
            weight=pick.weight if built_in else 1.0,
            blocks=BlockWeights.parse(text, {}) if text else None,
            base=partial(self.workbench.weights_of, config.model if (config := place.config()) else ""),
        )
        self.workbench.host.refresh_loras()
        files = ", ".join(path.name for path in written)
        return html.message(f"Saved {files}. Tune its blocks, or subtract the base style under Merge.", html.GOOD)

    @looks
    def follow(self, run: str | None, name: str | None) -> Any:
        """Blocks shows the epoch that was just chosen, where it shows none or another of this run; what was set for
        that one stays with it."""
        place = GridPlace(self.workbench, run or "")
        pick = place.picks().chosen
        if pick is None:
            return SKIP
        names = {lora.path: lora.name for lora in self.workbench.list_loras()}
        own = {names.get(candidate.path) for candidate in place.candidates()}
        found = names.get(place.source(pick))
        return gr.update(choices=list(names.values()), value=found) if found and (not name or name in own) else SKIP

    @looks
    def carry(self, tab: str, run: str, name: str) -> list[Any]:
        """Take the kept LoRA to another tab, or the file of the chosen cell if it was not kept."""
        names = [lora.name for lora in self.workbench.list_loras()]
        place = GridPlace(self.workbench, run or "")
        pick: Pick | None = place.picks().chosen
        if name not in names and pick is not None:
            source = place.source(pick)
            name = next((lora.name for lora in self.workbench.list_loras() if lora.path == source), name)
        return [NO_MESSAGE, gr.update(selected=tab), gr.update(choices=names, value=name)]
