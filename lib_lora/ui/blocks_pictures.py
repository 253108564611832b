"""Panels of the *Blocks* tab that draw: two weightings side by side, and the scan of all blocks."""

from __future__ import annotations

from typing import Any

import gradio as gr

from lib_lora.access import changes, looks
from lib_lora.errors import UserError
from lib_lora.jobs.blocks_jobs import BlockScanJob, BlocksPreviewJob
from lib_lora.jobs.job import JobView
from lib_lora.ui import blocks_view as view
from lib_lora.ui import html
from lib_lora.ui.actions import act, panel
from lib_lora.ui.blocks_desk import BlocksDesk
from lib_lora.ui.compat import SKIP
from lib_lora.ui.files import Pictures
from lib_lora.ui.generation import GenerationFields
from lib_lora.ui.job_view import compare, newest, progress
from lib_lora.ui.poll import Poller
from lib_lora.ui.values import whole_numbers
from lib_lora.workbench import LoraEntry

EMPTY = "The same picture with the LoRA as it is and with your block weights will appear here."
NO_SCAN = "What each block does can be measured: with the prompt above, once without each of the blocks."


class PreviewPanel:
    """A and B from the same noise: the LoRA as it is, or weights that were kept, and the weights of now."""

    def __init__(self, desk: BlocksDesk, pictures: Pictures):
        self.desk = desk
        self.pictures = pictures
        self.generation = GenerationFields("Block preview", "lw_blocks")

    def build(self) -> None:
        with gr.Row(elem_classes=["lw-fields"]):
            self.prompt = gr.Textbox("", label="Block preview prompt", elem_id="lw_blocks_prompt", scale=4)
            self.seed = gr.Number(1, precision=0, label="Block preview seed", elem_id="lw_blocks_seed", scale=1)
        self.generation.build(self.desk.workbench.host)
        with gr.Row(elem_classes=["lw-actions"]):
            self.draw = gr.Button("Preview", variant="primary", elem_id="lw_blocks_preview")
            self.cancel = gr.Button("Cancel preview", elem_id="lw_blocks_cancel", interactive=False)
            self.keep = gr.Button("Compare with these from now on", elem_id="lw_blocks_keep")
        self.message = panel("lw_blocks_preview_message")
        self.progress = panel("lw_blocks_progress")
        self.result = panel("lw_blocks_result", html.hint(EMPTY))

    @property
    def fields(self) -> list[Any]:
        """What :meth:`filled` fills."""
        return [self.prompt, *self.generation.components]

    def filled(self, entry: LoraEntry) -> list[Any]:
        """Prompt and size that suit a LoRA."""
        size = view.side_of(entry.metadata)
        sizes = self.generation.sized(*size) if size else [SKIP] * len(self.generation.components)
        return [entry.metadata.get("modelspec.trigger_phrase") or SKIP, *sizes]

    def connect(self, poller: Poller, lora: Any, scale: Any) -> None:
        wanted = [lora, scale, self.prompt, self.seed, *self.generation.components]
        act(self.draw.click, self.start, wanted, self.message)
        act(self.cancel.click, self.end, [], self.message)
        act(self.keep.click, self.keep_weights, [lora], self.message)
        poller.keep(self.now, [self.progress, self.cancel, self.result])

    @changes
    def start(self, name: str, scale: float | None, prompt: str, seed: float | None, *generation: Any) -> str:
        if seed is None:
            raise UserError("The seed is empty", where="Block preview seed", fix="Type a whole number")
        request = self.generation.request(generation, prompt, int(seed))
        kept = self.desk.kept(name)
        against = None if kept is None else self.desk.parsed(name, kept)
        queue, path = self.desk.workbench.queue, self.desk.entry(name).path
        queue.submit(BlocksPreviewJob(queue, path, self.desk.weights(name), request, weight_of_lora(scale), against))
        return ""

    @changes
    def end(self) -> str:
        job = newest(self._jobs())
        if job is not None:
            self.desk.workbench.queue.cancel(job.id)
        return ""

    @changes
    def keep_weights(self, name: str) -> str:
        self.desk.entry(name)
        self.desk.keep(name)
        return html.message(f"Previews now compare with {self.desk.kept(name)}.")

    def now(self) -> list[Any]:
        job = newest(self._jobs())
        shown = newest([j for j in self._jobs() if isinstance(j.result, dict)])
        first = "with the weights kept" if shown is not None and shown.data["against"] else "as it is"
        result = compare(shown, self.pictures, first, "with block weights") or html.hint(EMPTY)
        return [progress(job), gr.update(interactive=job is not None and not job.ended), result]

    def _jobs(self) -> list[JobView]:
        return [job for job in self.desk.workbench.queue.jobs() if job.kind == BlocksPreviewJob.kind]


class ScanPanel:
    """Measures every block of the LoRA with the prompt and the settings of the preview."""

    def __init__(self, desk: BlocksDesk, pictures: Pictures, preview: PreviewPanel):
        self.desk = desk
        self.pictures = pictures
        self.preview = preview

    def build(self) -> None:
        with gr.Accordion("Strength of each block", open=False, elem_id="lw_blocks_strength"):
            with gr.Row(elem_classes=["lw-actions"]):
                self.seeds = gr.Textbox(
                    "1, 2", label="Scan seeds", info="more seeds, steadier numbers", elem_id="lw_blocks_scan_seeds"
                )
                self.scan = gr.Button("Scan blocks", elem_id="lw_blocks_scan")
                self.cancel = gr.Button("Cancel scan", elem_id="lw_blocks_scan_cancel", interactive=False)
            self.plan = panel("lw_blocks_scan_plan")
            self.message = panel("lw_blocks_scan_message")
            self.progress = panel("lw_blocks_scan_progress")
            self.result = panel("lw_blocks_scan_result", html.hint(NO_SCAN))

    def connect(self, poller: Poller, lora: Any, scale: Any) -> None:
        wanted = [lora, scale, self.seeds, self.preview.prompt, *self.preview.generation.components]
        act(self.scan.click, self.start, wanted, self.message)
        act(self.cancel.click, self.end, [], self.message)
        for changed in (self.seeds.change, lora.change):
            act(changed, self.say_plan, [lora, self.seeds], self.plan)
        poller.keep(self.now, [self.progress, self.cancel, self.result], [lora])

    @looks
    def say_plan(self, name: str | None, seeds: str) -> str:
        """How many pictures it will be."""
        if not name:
            return ""
        blocks, count = len(self.desk.shape(name).present), len(whole_numbers(seeds, where="Scan seeds"))
        pictures = html.plural(count * (blocks + 2), "picture")
        text = (
            f"Will draw {pictures}: for {html.plural(count, 'seed')}, with the LoRA, without it, and without each of "
            f"its {blocks} blocks."
        )
        return f'<span class="lw-quiet">{text}</span>'

    @changes
    def start(self, name: str, scale: float | None, seeds: str, prompt: str, *generation: Any) -> str:
        request = self.preview.generation.request(generation, prompt)
        queue, path = self.desk.workbench.queue, self.desk.entry(name).path
        queue.submit(
            BlockScanJob(queue, path, request, whole_numbers(seeds, where="Scan seeds"), weight_of_lora(scale))
        )
        return ""

    @changes
    def end(self) -> str:
        job = newest(self._jobs())
        if job is not None:
            self.desk.workbench.queue.cancel(job.id)
        return ""

    def now(self, name: str | None) -> list[Any]:
        jobs = self._jobs()
        job = newest(jobs)
        done = newest([j for j in jobs if isinstance(j.result, dict) and j.result["scan"].name == name])
        shown = html.hint(NO_SCAN)
        if done is not None:
            shown = view.strength(done.result["scan"], self.pictures.url(done.result["map"]), str(done.result["csv"]))
        return [progress(job), gr.update(interactive=job is not None and not job.ended), shown]

    def _jobs(self) -> list[JobView]:
        return [job for job in self.desk.workbench.queue.jobs() if job.kind == BlockScanJob.kind]


def weight_of_lora(value: float | None) -> float:
    """The weight of the whole LoRA.

    Raises:
        UserError: the field is empty.
    """
    if value is None:
        raise UserError("The weight is empty", where="Weight of the whole LoRA", fix="1 is the LoRA as it is")
    return float(value)
