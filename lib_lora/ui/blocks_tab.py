"""Blocks: a slider for each block of the U-Net, seen at once, saved as a LoRA of its own."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from lib_lora.adapters import blocks
from lib_lora.adapters.file import read_lora
from lib_lora.errors import UserError
from lib_lora.jobs.job import JobView
from lib_lora.jobs.tool_jobs import BlocksPreviewJob
from lib_lora.tools.blocks import bake
from lib_lora.tools.lora_files import new_lora_path
from lib_lora.ui import html
from lib_lora.ui.actions import act, panel
from lib_lora.ui.choices import choices, lora_names
from lib_lora.ui.compat import SKIP
from lib_lora.ui.files import Pictures
from lib_lora.ui.generation import GenerationFields
from lib_lora.ui.job_view import compare, newest, progress
from lib_lora.ui.poll import Poller
from lib_lora.workbench import LoraEntry, Workbench

PRESETS_FILE = "block_presets.txt"  # of the user, in the data folder
EMPTY = "The same picture with the LoRA as it is and with your block weights will appear here."
SAVED_AS = ".safetensors, in the LoRA folder; nothing is overwritten"
NO_LORAS = "There is no LoRA yet. Train one, or put one into the LoRA folder."
GROUPS = (("BASE", "Text encoder"), ("IN", "IN: layout"), ("M", "Middle"), ("OUT", "OUT: details, colour"))


class BlocksTab:
    """Sliders and text are two views of one vector; the text is what counts."""

    def __init__(self, workbench: Workbench, pictures: Pictures):
        self.workbench = workbench
        self.pictures = pictures
        self.loras = lora_names(workbench)
        self.generation = GenerationFields("Block preview", "lw_blocks")

    # -- components ---------------------------------------------------------------------------------------------------

    def build(self) -> None:
        with gr.Row(elem_classes=["lw-fields"]):
            self.lora = gr.Dropdown(
                choices=self.loras(), value=None, label="LoRA to tune", elem_id="lw_blocks_lora", interactive=True
            )
            self.preset = gr.Dropdown(
                choices=list(self._presets()),
                value="ALL",
                label="Block preset",
                elem_id="lw_blocks_preset",
                interactive=True,
            )
            self.scale = gr.Number(1.0, label="Weight of the whole LoRA", elem_id="lw_blocks_scale")
        self.about = panel("lw_blocks_about")
        self.sliders = panel("lw_blocks_sliders", html.hint(NO_LORAS))
        self.vector = gr.Textbox(
            "",
            label="Block weights as text",
            elem_id="lw_blocks_vector",
            lines=1,
            info="the same numbers as the sliders; a vector of the Block Weight extension fits too",
        )
        with gr.Row(elem_classes=["lw-fields"]):
            self.prompt = gr.Textbox("", label="Block preview prompt", elem_id="lw_blocks_prompt", scale=4)
            self.seed = gr.Number(1, precision=0, label="Block preview seed", elem_id="lw_blocks_seed", scale=1)
        self.generation.build(self.workbench.host)
        with gr.Row(elem_classes=["lw-actions"]):
            self.preview = gr.Button("Preview", variant="primary", elem_id="lw_blocks_preview")
            self.cancel = gr.Button("Cancel preview", elem_id="lw_blocks_cancel", interactive=False)
        self.message = panel("lw_blocks_message")
        self.progress = panel("lw_blocks_progress")
        self.result = panel("lw_blocks_result", html.hint(EMPTY))
        with gr.Row(elem_classes=["lw-actions"]):
            self.name = gr.Textbox("", label="Save tuned LoRA as", info=SAVED_AS, elem_id="lw_blocks_name")
            self.save = gr.Button("Save as LoRA", elem_id="lw_blocks_save")
        self.saved = panel("lw_blocks_saved")

    # -- events -------------------------------------------------------------------------------------------------------

    def connect(self, poller: Poller) -> None:
        show = [self.about, self.sliders, self.vector, self.prompt, self.name, *self.generation.components]
        act(self.lora.change, self.open, [self.lora], self.message, show)
        act(self.preset.input, self.apply, [self.lora, self.preset], self.message, [self.vector])
        for trigger in (self.vector.submit, self.vector.blur):
            act(trigger, self.tidy, [self.lora, self.vector], self.message, [self.vector])
        wanted = [self.lora, self.vector, self.scale, self.prompt, self.seed, *self.generation.components]
        act(self.preview.click, self.start, wanted, self.message)
        act(self.cancel.click, self.end, [], self.message)
        act(self.save.click, self.save_tuned, [self.lora, self.vector, self.scale, self.name], self.saved)
        poller.keep(self.now, [self.lora, self.progress, self.cancel, self.result], [self.lora])

    def open(self, name: str | None) -> list[Any]:
        """Show another LoRA with all blocks at 1."""
        if not name:
            return ["", "", html.hint(NO_LORAS), *[SKIP] * (3 + len(self.generation.components))]
        entry = self._entry(name)
        layout = self._layout(entry.path)
        size = side_of(entry.metadata)
        prompt = entry.metadata.get("modelspec.trigger_phrase") or SKIP
        return [
            "",
            about(entry, layout),
            sliders(layout),
            ",".join("1" for _ in layout),
            prompt,
            f"{name}-tuned",
            *(self.generation.sized(*size) if size else [SKIP] * len(self.generation.components)),
        ]

    def apply(self, name: str | None, preset: str) -> list[Any]:
        return ["", self._as_text(name, preset)]

    def tidy(self, name: str | None, text: str) -> list[Any]:
        """Bring typed weights, or a preset's name, into the layout of the sliders."""
        return ["", self._as_text(name, text)] if name else ["", SKIP]

    def start(self, name: str, vector: str, scale: float, prompt: str, seed: float, *generation: Any) -> str:
        weights = blocks.parse_weights(vector, self._presets())
        if seed is None:
            raise UserError("The seed is empty", where="Block preview seed", fix="Type a whole number")
        request = self.generation.request(generation, prompt, int(seed))
        queue = self.workbench.queue
        queue.submit(BlocksPreviewJob(queue, self._entry(name).path, weights, request, _weight(scale)))
        return ""

    def end(self) -> str:
        job = newest(self._jobs())
        if job is not None:
            self.workbench.queue.cancel(job.id)
        return ""

    def save_tuned(self, name: str, vector: str, scale: float, new_name: str) -> str:
        weights = blocks.parse_weights(vector, self._presets())
        target = new_lora_path(new_name, self.workbench.host.paths.loras)
        bake(self._entry(name).path, weights, target, _weight(scale))
        self.workbench.host.refresh_loras()
        return html.message(f"Saved {target.name}. It needs no block weights any more.", html.GOOD)

    # -- what is shown ------------------------------------------------------------------------------------------------

    def now(self, name: str | None) -> list[Any]:
        job = newest(self._jobs())
        shown = newest([j for j in self._jobs() if isinstance(j.result, dict)])
        result = compare(shown, self.pictures, "as it is", "with block weights") or html.hint(EMPTY)
        busy = gr.update(interactive=job is not None and not job.ended)
        return [choices(self.loras(), name), progress(job), busy, result]

    # -- small parts --------------------------------------------------------------------------------------------------

    def _presets(self) -> dict[str, str]:
        return blocks.load_presets(self.workbench.host.paths.data / PRESETS_FILE)

    def _entry(self, name: str | None) -> LoraEntry:
        for entry in self.workbench.list_loras():
            if entry.name == name:
                return entry
        raise UserError("Choose a LoRA", where=name or "LoRA to tune", fix="It must be in the LoRA folder")

    def _layout(self, path: Path) -> tuple[str, ...]:
        return blocks.layout_for(read_lora(path).modules)

    def _as_text(self, name: str | None, text: str) -> str:
        layout = self._layout(self._entry(name).path)
        return blocks.format_weights(blocks.parse_weights(text, self._presets()), layout)

    def _jobs(self) -> list[JobView]:
        return [job for job in self.workbench.queue.jobs() if job.kind == BlocksPreviewJob.kind]


def sliders(layout: Sequence[str]) -> str:
    """A vertical slider a block; the script keeps them and the text alike."""
    columns = "".join(
        f'<label class="lw-slider">{name}<input type="range" min="-0.5" max="1.5" step="0.01" value="1" '
        f'data-lw-block="{name}" aria-label="Weight of block {name}"><output>1.00</output></label>'
        for name in layout
    )
    groups = "".join(
        f"<span>{escape(title)} "
        + "".join(
            f'<button type="button" data-lw-group="{name}" data-lw-value="{v}" '
            f'aria-label="All of {escape(title)} to {v}">{v}</button> '
            for v in (0, 0.5, 1)
        )
        + "</span>"
        for name, title in GROUPS
    )
    return f'<div class="lw-sliders">{columns}</div><div class="lw-groups">{groups}</div>'


def about(entry: LoraEntry, layout: Sequence[str]) -> str:
    """What kind of LoRA it is."""
    rank = entry.metadata.get("ss_network_dim", "unknown")
    kind = "LoCon" if len(layout) == len(blocks.BLOCKS_26) else "LoRA"
    base = entry.metadata.get("ss_sd_model_name", "")
    facts = [kind, "SD1", f"rank {rank}", f"{len(layout)} blocks", f"trained on {base}" if base else ""]
    return f'<span class="lw-quiet">{escape(" · ".join(filter(None, facts)))}</span>'


def side_of(metadata: dict[str, str]) -> tuple[int, int] | None:
    """Width and height that the LoRA was trained with, from ``"(512, 512)"``."""
    numbers = [int(n) for n in metadata.get("ss_resolution", "").strip("()").split(",") if n.strip().isdigit()]
    return (numbers[0], numbers[-1]) if numbers else None


def _weight(value: float | None) -> float:
    if value is None:
        raise UserError("The weight is empty", where="Weight of the whole LoRA", fix="1 is the LoRA as it is")
    return float(value)
