"""Formula: rows and text are two views of one merge; the text is what counts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gradio as gr

from lib_lora.access import changes, looks
from lib_lora.adapters.blocks import load_presets
from lib_lora.errors import UserError
from lib_lora.jobs.merge_jobs import CheckpointJob, MergeJob
from lib_lora.jobs.views import DONE, CheckpointView
from lib_lora.tools.merge import new_checkpoint_path
from lib_lora.ui import html
from lib_lora.ui.actions import NO_MESSAGE, act, panel
from lib_lora.ui.choices import choices, lora_names
from lib_lora.ui.job_view import newest, of_type, progress
from lib_lora.ui.lora_picture import LoraPictures
from lib_lora.ui.merge_fields import BaseField, ReductionFields
from lib_lora.ui.merge_rows import ALL, to_formula, to_rows
from lib_lora.ui.poll import Poller
from lib_lora.workbench import Workbench

ROWS = 6
START = 2  # rows in view at first


class FormulaPanel:
    """LoRAs with weights and blocks, as rows and as text; into a LoRA, or into a checkpoint."""

    way = "formula"

    def __init__(self, workbench: Workbench, asked: Callable[..., None], of_loras: LoraPictures):
        self.workbench, self.asked, self.of_loras = workbench, asked, of_loras
        self.loras = lora_names(workbench)
        self.rows: list[tuple[Any, Any, Any]] = []
        self.size = ReductionFields("lw_merge", "merge")
        self.base_field = BaseField(workbench, "lw_merge")

    # -- components ---------------------------------------------------------------------------------------------------

    def build(self) -> None:
        """Rows of LoRAs, and the formula that says the same."""
        presets = list(load_presets(self._presets))
        with gr.Group(elem_id="lw_merge_rows"):
            self.lines: list[gr.Row] = []
            self.row_pictures: list[Any] = []
            self.rows = [self._build_row(number, presets) for number in range(1, ROWS + 1)]
        self.shown = gr.State(START)
        self.add = gr.Button("Add a row", elem_id="lw_merge_add", size="sm")
        self.formula = gr.Textbox(
            "",
            label="Formula",
            elem_id="lw_merge_formula",
            info="NAME:weight:BLOCKS with commas between; the rows say the same",
        )
        with gr.Row(elem_classes=["lw-fields"]):
            self.size.build()
            self.base = self.base_field.build()
        with gr.Row(elem_classes=["lw-actions"]):
            self.calculate = gr.Button("Calculate", variant="primary", elem_id="lw_merge_calculate")
        with gr.Accordion("Write into a checkpoint instead", open=False, elem_id="lw_merge_into"):
            self._build_checkpoint()
        self.message = panel("lw_merge_message")

    def _build_checkpoint(self) -> None:
        with gr.Row(elem_classes=["lw-fields"]):
            self.checkpoint = gr.Dropdown(
                choices=self.workbench.host.checkpoints(),
                value=None,
                label="Checkpoint to merge into",
                elem_id="lw_merge_checkpoint",
                interactive=True,
            )
            self.new_checkpoint = gr.Textbox(
                "",
                label="Name of the new checkpoint",
                info=".safetensors, in the checkpoint folder; the old one stays as it is",
                elem_id="lw_merge_new_checkpoint",
            )
        with gr.Row(elem_classes=["lw-actions"]):
            self.write = gr.Button("Write checkpoint", elem_id="lw_merge_write")
        self.written = panel("lw_merge_written")
        self.progress = panel("lw_merge_write_progress")

    def _build_row(self, number: int, presets: list[str]) -> tuple[Any, Any, Any]:
        with gr.Row(elem_classes=["lw-fields"], visible=number <= START) as line:
            with self.of_loras.beside(f"lw_merge_lora_{number}", scale=3) as picture:
                lora = gr.Dropdown(
                    choices=self.loras(),
                    value=None,
                    label=f"LoRA {number}",
                    elem_id=f"lw_merge_lora_{number}",
                    interactive=True,
                )
            weight = gr.Number(
                1.0, label=f"Weight {number}", elem_id=f"lw_merge_weight_{number}", scale=1, min_width=90
            )
            blocks = gr.Dropdown(
                choices=presets,
                value=ALL,
                label=f"Blocks {number} (preset or numbers)",
                allow_custom_value=True,
                elem_id=f"lw_merge_blocks_{number}",
                interactive=True,
                scale=3,
            )
        self.lines.append(line)
        self.row_pictures.append(picture)
        return lora, weight, blocks

    # -- events -------------------------------------------------------------------------------------------------------

    def connect(self, poller: Poller) -> None:
        """Rows and formula fill each other; :class:`ResultPanel` has what is calculated."""
        cells = [cell for row in self.rows for cell in row]
        for cell in cells:
            act(cell.input, self.write_formula, cells, self.message, [self.formula])
        for trigger in (self.formula.submit, self.formula.blur):
            act(trigger, self.fill_rows, [self.formula, self.shown], self.message, [*cells, self.shown, *self.lines])
        act(self.add.click, self.add_row, [self.shown], self.message, [self.shown, *self.lines])
        act(self.calculate.click, self.start, self.asking, self.message)
        act(self.write.click, self.start_writing, [self.formula, self.checkpoint, self.new_checkpoint], self.written)
        loras = [row[0] for row in self.rows]
        poller.keep(self.now, [*loras, *self.row_pictures, self.progress], loras)

    @property
    def asking(self) -> list[Any]:
        """The fields that decide the result, in the order of :meth:`start`."""
        return [self.formula, self.base, *self.size.components]

    @property
    def filled(self) -> list[Any]:
        """The components that :meth:`fill_rows` has values for, after its message."""
        return [*(cell for row in self.rows for cell in row), self.shown, *self.lines]

    @looks
    def write_formula(self, *cells: Any) -> list[Any]:
        """The formula of the rows; each is a name, a weight and block weights."""
        rows = [tuple(cells[i : i + 3]) for i in range(0, len(cells), 3)]
        return [NO_MESSAGE, to_formula(rows)]

    @looks
    def fill_rows(self, formula: str, shown: int) -> list[Any]:
        """The rows of a formula; UserError for a name there is no LoRA of."""
        known = self.loras()
        rows = to_rows(formula, ROWS)
        if missing := [name for name, _, _ in rows if name and name not in known]:
            raise UserError(f"There is no LoRA called {missing[0]!r}", where="Formula", fix="Choose it in a row")
        used = sum(name is not None for name, _, _ in rows)
        return [NO_MESSAGE, *(cell for row in rows for cell in row), *self._in_view(max(shown, used))]

    @looks
    def add_row(self, shown: int) -> list[Any]:
        """One row more in view."""
        if shown == ROWS:
            raise UserError(f"There are {ROWS} rows only", fix="Write further LoRAs into the formula")
        return [NO_MESSAGE, *self._in_view(shown + 1)]

    def _in_view(self, count: int) -> list[Any]:
        return [count, *(gr.update(visible=number < count) for number in range(ROWS))]

    @changes
    def start(self, formula: str, base: str, *size: str) -> str:
        """Queue the merge."""
        name = f"{self._first(formula)}-merged"
        queue = self.workbench.queue
        job = MergeJob(queue, formula, self.size.read(*size), self._presets, self.base_field.read(base), name)
        self.asked(queue.submit(job), self.way, formula, base, *size)
        return ""

    @changes
    def start_writing(self, formula: str, checkpoint: str | None, name: str) -> str:
        """Queue a checkpoint with the formula's LoRAs merged into it."""
        self._first(formula)
        if not checkpoint:
            raise UserError("No checkpoint is chosen", where="Checkpoint to merge into", fix="Choose one")
        folder = self.workbench.host.checkpoint_path(checkpoint).parent
        target = new_checkpoint_path(name, folder)
        queue = self.workbench.queue
        queue.submit(CheckpointJob(queue, formula, checkpoint, target, self._presets))
        return ""

    def now(self, *chosen: str | None) -> list[Any]:
        """Choices of the rows, pictures of the chosen ones, and what became of the last checkpoint."""
        names = self.loras()
        job = newest(of_type(self.workbench.queue, CheckpointView))
        text = progress(job, cancels=True)
        if job is not None and job.state == DONE:
            text = html.message(f"Wrote {job.target.name}.", html.GOOD)
            if left_out := job.left_out:
                what = f"{html.plural(len(left_out), 'layer')} are not in this checkpoint, such as {left_out[0]}"
                text += html.message(what, html.WARNING)
        return [*(choices(names, name, first=False) for name in chosen), *map(self.of_loras.of, chosen), text]

    # -- small parts --------------------------------------------------------------------------------------------------

    @property
    def _presets(self) -> Any:
        return self.workbench.host.paths.places.block_presets

    def _first(self, formula: str) -> str:
        """The first LoRA of a formula; an error where there is none."""
        if not formula.strip():
            raise UserError("Nothing to merge", where="Formula", fix="Choose a LoRA in a row")
        return next(name for name, _, _ in to_rows(formula, ROWS) if name).rsplit("/")[-1]
