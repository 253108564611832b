"""Merge: add and subtract LoRAs, see what it costs, see it, save it."""

from __future__ import annotations

from typing import Any

import gradio as gr

from lib_lora.adapters.blocks import load_presets
from lib_lora.errors import UserError
from lib_lora.jobs.job import DONE, JobView
from lib_lora.jobs.tool_jobs import MergeJob, MergePreviewJob
from lib_lora.tools.lora_files import new_lora_path
from lib_lora.ui import html
from lib_lora.ui.actions import act, panel
from lib_lora.ui.blocks_tab import PRESETS_FILE, SAVED_AS
from lib_lora.ui.choices import choices, lora_names
from lib_lora.ui.files import Pictures
from lib_lora.ui.generation import GenerationFields
from lib_lora.ui.job_view import compare, newest, progress
from lib_lora.ui.merge_report import merge_report
from lib_lora.ui.merge_rows import ALL, rank_of, to_formula, to_rows
from lib_lora.ui.poll import Poller
from lib_lora.workbench import Workbench

ROWS = 6
START = 2  # rows in view at first
EMPTY = "Choose LoRAs in the rows, or write a formula such as STYLE:1:GP1,BASE:-1:GP2. A weight of -1 subtracts."


class MergeTab:
    """Rows and formula are two views of one merge; the formula is what counts."""

    def __init__(self, workbench: Workbench, pictures: Pictures):
        self.workbench = workbench
        self.pictures = pictures
        self.loras = lora_names(workbench)
        self.generation = GenerationFields("Merge preview", "lw_merge")
        self.rows: list[tuple[Any, Any, Any]] = []

    # -- components ---------------------------------------------------------------------------------------------------

    def build(self) -> None:
        presets = load_presets(self.workbench.host.paths.data / PRESETS_FILE)
        with gr.Group(elem_id="lw_merge_rows"):
            self.lines: list[gr.Row] = []
            self.rows = [self._build_row(number, list(presets)) for number in range(1, ROWS + 1)]
        self.shown = gr.State(START)
        self.add = gr.Button("Add a row", elem_id="lw_merge_add", size="sm")
        with gr.Row(elem_classes=["lw-fields"]):
            self.formula = gr.Textbox(
                "",
                label="Formula",
                elem_id="lw_merge_formula",
                scale=4,
                info="NAME:weight:BLOCKS with commas between; the rows say the same",
            )
            self.rank = gr.Textbox(
                "exact",
                label="Rank of the result",
                elem_id="lw_merge_rank",
                scale=1,
                info="exact, or a number to make it smaller",
            )
        with gr.Row(elem_classes=["lw-actions"]):
            self.calculate = gr.Button("Calculate", variant="primary", elem_id="lw_merge_calculate")
            self.cancel = gr.Button("Cancel merge", elem_id="lw_merge_cancel", interactive=False)
        self.message = panel("lw_merge_message")
        self.progress = panel("lw_merge_progress")
        self.report = panel("lw_merge_report", html.hint(EMPTY))
        with gr.Column(visible=False, elem_id="lw_merge_next") as self.next:
            with gr.Row(elem_classes=["lw-actions"]):
                self.name = gr.Textbox("", label="Save merge as", info=SAVED_AS, elem_id="lw_merge_name")
                self.save = gr.Button("Save merge", elem_id="lw_merge_save")
            with gr.Row(elem_classes=["lw-actions"]):
                self.prompt = gr.Textbox("", label="Merge preview prompt", elem_id="lw_merge_prompt", scale=4)
                self.seed = gr.Number(1, precision=0, label="Merge preview seed", elem_id="lw_merge_seed", scale=1)
                self.preview = gr.Button("Preview merge", elem_id="lw_merge_preview", scale=1)
            self.generation.build(self.workbench.host)
            self.saved = panel("lw_merge_saved")
            self.progress_preview = panel("lw_merge_preview_progress")
            self.result = panel("lw_merge_result")

    def _build_row(self, number: int, presets: list[str]) -> tuple[Any, Any, Any]:
        with gr.Row(elem_classes=["lw-fields"], visible=number <= START) as line:
            lora = gr.Dropdown(
                choices=self.loras(),
                value=None,
                label=f"LoRA {number}",
                elem_id=f"lw_merge_lora_{number}",
                interactive=True,
                scale=3,
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
        return lora, weight, blocks

    # -- events -------------------------------------------------------------------------------------------------------

    def connect(self, poller: Poller) -> None:
        cells = [cell for row in self.rows for cell in row]
        for cell in cells:
            act(cell.input, self.write_formula, cells, self.message, [self.formula])
        for trigger in (self.formula.submit, self.formula.blur):
            act(trigger, self.fill_rows, [self.formula, self.shown], self.message, [*cells, self.shown, *self.lines])
        act(self.add.click, self.add_row, [self.shown], self.message, [self.shown, *self.lines])
        act(self.calculate.click, self.start, [self.formula, self.rank], self.message, [self.name])
        act(self.cancel.click, self.end, [], self.message)
        act(self.save.click, self.save_merge, [self.formula, self.rank, self.name], self.saved)
        request = [self.formula, self.rank, self.prompt, self.seed, *self.generation.components]
        act(self.preview.click, self.start_preview, request, self.saved)
        loras = [row[0] for row in self.rows]
        poller.keep(
            self.now,
            [*loras, self.progress, self.cancel, self.report, self.next, self.progress_preview, self.result],
            loras,
        )

    def write_formula(self, *cells: Any) -> list[Any]:
        rows = [tuple(cells[i : i + 3]) for i in range(0, len(cells), 3)]
        return ["", to_formula(rows)]

    def fill_rows(self, formula: str, shown: int) -> list[Any]:
        known = self.loras()
        rows = to_rows(formula, ROWS)
        if missing := [name for name, _, _ in rows if name and name not in known]:
            raise UserError(f"There is no LoRA called {missing[0]!r}", where="Formula", fix="Choose it in a row")
        used = sum(name is not None for name, _, _ in rows)
        return ["", *(cell for row in rows for cell in row), *self._in_view(max(shown, used))]

    def add_row(self, shown: int) -> list[Any]:
        if shown == ROWS:
            raise UserError(f"There are {ROWS} rows only", fix="Write further LoRAs into the formula")
        return ["", *self._in_view(shown + 1)]

    def _in_view(self, count: int) -> list[Any]:
        return [count, *(gr.update(visible=number < count) for number in range(ROWS))]

    def start(self, formula: str, rank: str) -> list[Any]:
        if not formula.strip():
            raise UserError("Nothing to merge", where="Formula", fix="Choose a LoRA in a row")
        names = [name for name, _, _ in to_rows(formula, ROWS) if name]
        queue = self.workbench.queue
        queue.submit(MergeJob(queue, formula, rank_of(rank), self.workbench.host.paths.data / PRESETS_FILE))
        return ["", "-".join(names[:1]) + "-merged"]

    def end(self) -> str:
        for job in self._jobs(MergeJob.kind) + self._jobs(MergePreviewJob.kind):
            if not job.ended:
                self.workbench.queue.cancel(job.id)
        return ""

    def save_merge(self, formula: str, rank: str, name: str) -> str:
        merged = self._merged(formula, rank)
        target = new_lora_path(name, self.workbench.host.paths.loras)
        merged.save(target)
        self.workbench.host.refresh_loras()
        return html.message(f"Saved {target.name}.", html.GOOD) + "".join(
            html.message(text, html.WARNING) for text in merged.report.warnings
        )

    def start_preview(self, formula: str, rank: str, prompt: str, seed: float, *generation: Any) -> str:
        merged = self._merged(formula, rank)
        if seed is None:
            raise UserError("The seed is empty", where="Merge preview seed", fix="Type a whole number")
        request = self.generation.request(generation, prompt, int(seed))
        queue = self.workbench.queue
        queue.submit(MergePreviewJob(queue, merged, request))
        return ""

    # -- what is shown ------------------------------------------------------------------------------------------------

    def now(self, *chosen: str | None) -> list[Any]:
        names = self.loras()
        job, drawn = newest(self._jobs(MergeJob.kind)), newest(self._jobs(MergePreviewJob.kind))
        shown = newest([j for j in self._jobs(MergePreviewJob.kind) if isinstance(j.result, dict)])
        busy = any(j is not None and not j.ended for j in (job, drawn))
        done = job is not None and job.state == DONE
        report = merge_report(job.result, job.data["rank"]) if done else "" if job else html.hint(EMPTY)
        head = f'<p class="lw-prompt">{html.escape(job.title)}</p>' if done else ""
        return [
            *(choices(names, name, first=False) for name in chosen),
            progress(job),
            gr.update(interactive=busy),
            head + report,
            gr.update(visible=done),
            progress(drawn),
            compare(shown, self.pictures, "without LoRA", "with the merge"),
        ]

    # -- small parts --------------------------------------------------------------------------------------------------

    def _merged(self, formula: str, rank: str) -> Any:
        """The calculated merge, if it is the one that the fields ask for."""
        job = newest(self._jobs(MergeJob.kind))
        if job is None or job.state != DONE or (job.title, job.data["rank"]) != (formula, rank_of(rank)):
            raise UserError(
                "This is not calculated yet", where="Formula", fix="Press Calculate and look at the error first"
            )
        return job.result

    def _jobs(self, kind: str) -> list[JobView]:
        return [job for job in self.workbench.queue.jobs() if job.kind == kind]
