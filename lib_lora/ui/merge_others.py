"""LoRAs out of one file or out of two checkpoints: resize, convert, extract."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gradio as gr

from lib_lora.access import changes
from lib_lora.adapters.extract import Extraction
from lib_lora.adapters.formula import Term, render
from lib_lora.errors import UserError
from lib_lora.jobs.merge_jobs import ExtractJob, MergeJob
from lib_lora.ui.actions import act, panel
from lib_lora.ui.choices import choices, lora_names
from lib_lora.ui.lora_picture import LoraPictures
from lib_lora.ui.merge_fields import EXACT, BaseField, ProgramField, ReductionFields
from lib_lora.ui.poll import Poller
from lib_lora.workbench import Workbench


class ResizePanel:
    """One LoRA of any algorithm, as LoRA of another rank, or with such layers as one program applies."""

    way = "resize"

    def __init__(self, workbench: Workbench, asked: Callable[..., None], of_loras: LoraPictures):
        self.workbench, self.asked, self.of_loras = workbench, asked, of_loras
        self.loras = lora_names(workbench)
        self.size = ReductionFields("lw_resize", "new file")
        self.base_field = BaseField(workbench, "lw_resize", " of this LoRA")
        self.program_field = ProgramField("lw_resize_for", "Convert for")

    def build(self) -> None:
        """The LoRA, its new size, and the program it is for."""
        with gr.Row(elem_classes=["lw-fields"]):
            with self.of_loras.beside("lw_resize_lora", scale=2) as self.picture:
                self.lora = gr.Dropdown(
                    choices=self.loras(),
                    value=None,
                    label="LoRA to resize",
                    info="LoHa, LoKr, DoRA and all others become LoRA, but for what the program below applies",
                    elem_id="lw_resize_lora",
                    interactive=True,
                )
            self.size.build()
        with gr.Row(elem_classes=["lw-fields"]):
            self.program, self.base = self.program_field.build(), self.base_field.build()
        with gr.Row(elem_classes=["lw-actions"]):
            self.start_button = gr.Button("Calculate new size", variant="primary", elem_id="lw_resize_calculate")
        self.message = panel("lw_resize_message")

    def connect(self, poller: Poller) -> None:
        """The button, and the choice of LoRAs."""
        act(self.start_button.click, self.start, self.asking, self.message)
        poller.keep(self.now, [self.lora, self.picture], [self.lora])

    def now(self, name: str | None) -> list[Any]:
        """The LoRAs there are, and a picture of the chosen one."""
        return [choices(self.loras(), name), self.of_loras.of(name)]

    @property
    def asking(self) -> list[Any]:
        """The fields that decide the result, in the order of :meth:`start`."""
        return [self.lora, self.program, self.base, *self.size.components]

    @changes
    def start(self, name: str | None, program: str, base: str, *size: str) -> str:
        """Queue it; the result is shown beside, and saved from there."""
        if not name:
            raise UserError("No LoRA is chosen", where="LoRA to resize", fix="Choose one")
        reduction = self.size.read(*size)
        wanted = self.program_field.read(program)
        new_name = f"{name.rsplit('/')[-1]}-{f'r{reduction.rank}' if reduction.rank else wanted or 'lora'}"
        queue, presets = self.workbench.queue, self.workbench.host.paths.places.block_presets
        formula, acting_on = render([Term(name, 1.0)]), self.base_field.read(base)
        job = MergeJob(queue, formula, reduction, presets, acting_on, new_name, wanted)
        self.asked(queue.submit(job), self.way, name, program, base, *size)
        return ""


class ExtractPanel:
    """What a checkpoint has learned over the one that it was made from."""

    way = "extract"

    def __init__(self, workbench: Workbench, asked: Callable[..., None]):
        self.workbench, self.asked = workbench, asked
        self.size = ReductionFields("lw_extract", "extracted LoRA", rank="32")

    def build(self) -> None:
        """The two checkpoints, and the size of what is between them."""
        names = self.workbench.host.checkpoints()
        with gr.Row(elem_classes=["lw-fields"]):
            self.tuned, self.original = (
                gr.Dropdown(choices=names, value=None, label=label, elem_id=f"lw_extract_{key}", interactive=True)
                for label, key in (("Fine-tuned checkpoint", "tuned"), ("made from this one", "original"))
            )
        with gr.Row(elem_classes=["lw-fields"]):
            self.size.build()
        with gr.Row(elem_classes=["lw-fields"]):
            self.conv_rank = gr.Number(
                0,
                precision=0,
                label="Convolution rank of the extract",
                info="0 leaves 3×3 convolutions out",
                elem_id="lw_extract_conv",
            )
            self.text_encoder = gr.Checkbox(True, label="With the text encoder", elem_id="lw_extract_te")
        with gr.Row(elem_classes=["lw-actions"]):
            self.start_button = gr.Button("Calculate difference", variant="primary", elem_id="lw_extract_calculate")
        self.message = panel("lw_extract_message")

    def connect(self, _poller: Poller) -> None:
        """The button."""
        act(self.start_button.click, self.start, self.asking, self.message)

    @property
    def asking(self) -> list[Any]:
        """The fields that decide the result, in the order of :meth:`start`."""
        return [self.tuned, self.original, self.conv_rank, self.text_encoder, *self.size.components]

    @changes
    def start(
        self, tuned: str | None, original: str | None, conv_rank: float | None, text_encoder: bool, *size: str
    ) -> str:
        """Queue it; the result is shown beside, and saved from there."""
        if not tuned or not original:
            raise UserError("Two checkpoints are needed", where="Fine-tuned checkpoint", fix="Choose both")
        reduction = self.size.read(*size)
        if reduction.rank is None:
            what = f"A difference of checkpoints cannot be {EXACT}"
            raise UserError(what, where="Rank of the extracted LoRA", fix="Give a rank such as 32")
        options = Extraction(reduction.rank, int(conv_rank or 0), reduction.energy, text_encoder)
        queue = self.workbench.queue
        job = ExtractJob(queue, tuned, original, options)
        self.asked(queue.submit(job), self.way, tuned, original, conv_rank, text_encoder, *size)
        return ""
