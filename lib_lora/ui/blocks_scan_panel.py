"""The scan of all blocks: what each of them does, in numbers, in pictures and as bars at the sliders."""

from __future__ import annotations

from typing import Any

import gradio as gr

from lib_lora.access import changes, looks
from lib_lora.jobs.blocks_jobs import BlockScanJob
from lib_lora.jobs.views import ScanView
from lib_lora.ui import blocks_view as view
from lib_lora.ui import html
from lib_lora.ui.actions import act, panel
from lib_lora.ui.blocks_desk import BlocksDesk
from lib_lora.ui.blocks_stage import Stage, weight_of_lora
from lib_lora.ui.files import Pictures
from lib_lora.ui.job_view import newest, of_type, progress
from lib_lora.ui.poll import Poller
from lib_lora.ui.values import whole_numbers

NO_SCAN = "See what each block does: the picture is drawn once without each of them, and measured."


class ScanPanel:
    """Measures every block of the LoRA with the prompt and the settings of the preview."""

    def __init__(self, desk: BlocksDesk, pictures: Pictures, preview: Stage):
        self.desk = desk
        self.pictures = pictures
        self.preview = preview

    def build(self) -> None:
        """Seeds and buttons, and the table of the last scan."""
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
        """``lora`` and ``scale``: the fields of the tab that say what is measured."""
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
        """Queue the scan."""
        request = self.preview.generation.request(generation, prompt)
        queue, path = self.desk.workbench.queue, self.desk.entry(name).path
        queue.submit(
            BlockScanJob(queue, path, request, whole_numbers(seeds, where="Scan seeds"), weight_of_lora(scale))
        )
        return ""

    @changes
    def end(self) -> str:
        """Cancel the newest scan."""
        job = newest(self._jobs())
        if job is not None:
            self.desk.workbench.queue.cancel(job.id)
        return ""

    def now(self, name: str | None) -> list[Any]:
        """Progress, the last table of that LoRA, and whether there is something to cancel."""
        jobs = self._jobs()
        job = newest(jobs)
        done = newest([j for j in jobs if j.scan is not None and j.scan.name == name])
        shown = html.hint(NO_SCAN)
        if done is not None and done.scan is not None:
            drawn = {block: self.pictures.url(path) for block, path in done.pictures.items()}
            shown = view.strength(done.scan, drawn, str(done.table))
        return [progress(job), gr.update(interactive=job is not None and not job.ended), shown]

    def _jobs(self) -> list[ScanView]:
        return of_type(self.desk.workbench.queue, ScanView)
