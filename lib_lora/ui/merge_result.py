"""What was calculated, by whichever panel: its report, a preview, and the file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import gradio as gr
import torch

from lib_lora.access import changes
from lib_lora.adapters.file import read_metadata
from lib_lora.adapters.formula import parse
from lib_lora.adapters.merged import Merged
from lib_lora.errors import UserError
from lib_lora.jobs.merge_jobs import CheckpointJob, MergedJob, MergePreviewJob
from lib_lora.jobs.views import DONE, CheckpointView, MergeView, PairView
from lib_lora.lora_files import new_lora_path
from lib_lora.models.base import GenerationRequest
from lib_lora.tools.convert import for_program
from lib_lora.tools.examples import run_of
from lib_lora.ui import html
from lib_lora.ui.actions import act, panel
from lib_lora.ui.blocks_desk import SAVED_AS
from lib_lora.ui.choices import sample_prompt_of
from lib_lora.ui.compat import SKIP
from lib_lora.ui.files import Pictures
from lib_lora.ui.generation import GenerationFields
from lib_lora.ui.job_view import newest, of_kind, of_type, progress, side_by_side
from lib_lora.ui.merge_fields import ProgramField
from lib_lora.ui.merge_report import merge_report
from lib_lora.ui.poll import Poller
from lib_lora.workbench import Workbench

EMPTY = "What comes out is shown here, with pictures of it, before anything is saved."
PRECISIONS = ("float16", "bfloat16", "float32")
STALE = "This is no longer what the fields say. Calculate again to preview or save it."


class ResultPanel:
    """The newest calculated LoRA, which is not saved before the user says so."""

    def __init__(self, workbench: Workbench, pictures: Pictures):
        self.workbench = workbench
        self.pictures = pictures
        self.generation = GenerationFields("Merge preview", "lw_merge")
        self.program_field = ProgramField("lw_merge_for", "Save for")
        self._asked: dict[int, tuple[str, tuple[Any, ...]]] = {}  # job -> the way, and what its fields said

    def remember(self, job: int, way: str, *values: Any) -> None:
        """What ``job`` calculates: the fields of one of the ways, to be told from what they say later."""
        self._asked[job] = (way, values)

    def build(self) -> None:
        """Progress, the report, a preview, and fields to save."""
        with gr.Row(elem_classes=["lw-folder"]):
            self.progress = panel("lw_merge_progress")
            self.cancel = gr.Button("Cancel merge", elem_id="lw_merge_cancel", size="sm", interactive=False)
        with gr.Column(visible=False, elem_id="lw_merge_next") as self.next:
            self.progress_preview = panel("lw_merge_preview_progress")
            self.result = panel("lw_merge_result")
            with gr.Row(elem_classes=["lw-actions"]):
                self.prompt = gr.Textbox("", label="Merge preview prompt", elem_id="lw_merge_prompt", scale=4)
                self.seed = gr.Number(
                    1, precision=0, label="Merge preview seed", elem_id="lw_merge_seed", scale=1, min_width=170
                )
                self.preview = gr.Button("Preview merge", elem_id="lw_merge_preview", scale=0)
            self.generation.build(self.workbench.host)
            with gr.Row(elem_classes=["lw-fields", "lw-folder"]):
                self.name = gr.Textbox("", label="Save merge as", info=SAVED_AS, elem_id="lw_merge_name", scale=2)
                self.precision = gr.Dropdown(
                    choices=list(PRECISIONS),
                    value=PRECISIONS[0],
                    label="Precision of the file",
                    elem_id="lw_merge_precision",
                    interactive=True,
                    scale=1,
                )
                self.program = self.program_field.build()
                self.save = gr.Button("Save merge", elem_id="lw_merge_save")
        self.saved = panel("lw_merge_saved")
        self.report = panel("lw_merge_report", _empty())
        self.named = gr.State(0)  # the job that the name field was filled for

    def connect(self, poller: Poller, ways: Mapping[str, Sequence[Any]]) -> None:
        """``ways``: the fields that decide each way's result, in the order of :meth:`remember`."""
        self._counts = {way: len(fields) for way, fields in ways.items()}
        fields = [field for of_way in ways.values() for field in of_way]
        act(self.cancel.click, self.end, [], self.saved)
        act(self.save.click, self.save_merge, [self.name, self.precision, self.program, *fields], self.saved)
        request = [self.prompt, self.seed, *self.generation.components]
        act(self.preview.click, self.start_preview, request, self.saved)
        shown = [self.progress, self.cancel, self.report, self.next, self.progress_preview, self.result]
        shown += [self.save, self.preview]
        poller.keep(self.now, [*shown, self.name, self.named, *self.generation.components], [self.named, *fields])

    def _stale(self, job: MergeView | None, values: Sequence[Any]) -> bool:
        """Whether the fields say something else than what ``job`` was asked for."""
        if job is None or job.id not in self._asked:
            return False
        rest = iter(values)
        now = {way: tuple(next(rest) for _ in range(count)) for way, count in self._counts.items()}
        way, asked = self._asked[job.id]
        return now[way] != asked

    @changes
    def end(self) -> str:
        """Cancel everything of this tab."""
        for job in of_kind(self.workbench.queue, MergedJob.kind, MergePreviewJob.kind, CheckpointJob.kind):
            if not job.ended:
                self.workbench.queue.cancel(job.id)
        return ""

    @changes
    def save_merge(self, name: str, precision: str, program: str, *fields: Any) -> str:
        """Write what was calculated; UserError where the fields were changed since."""
        job, merged = self._calculated()
        if self._stale(job, fields):
            raise UserError("The fields were changed after this was calculated", fix="Press Calculate again")
        target = new_lora_path(name, self.workbench.host.paths.loras)
        if wanted := self.program_field.read(program):
            merged = for_program(merged, wanted)
        merged.save(target, getattr(torch, precision))
        self.workbench.host.refresh_loras()
        return html.message(f"Saved {target.name}: {job.title}.", html.GOOD) + "".join(
            html.message(text, html.WARNING) for text in merged.report.warnings
        )

    @changes
    def start_preview(self, prompt: str, seed: float, *generation: Any) -> str:
        """Draw a picture with what was calculated and one without."""
        job, merged = self._calculated()
        request, queue = self.request(generation, prompt, seed), self.workbench.queue
        queue.submit(MergePreviewJob(queue, merged, request, self._first_of(job)))
        return ""

    def request(self, generation: Sequence[Any], prompt: str, seed: float | None) -> GenerationRequest:
        """What the fields ask for; UserError naming one that cannot be read."""
        if seed is None:
            raise UserError("The seed is empty", where="Merge preview seed", fix="Type a whole number")
        return self.generation.request(generation, prompt, int(seed))

    def suggested_prompt(self, lora: str) -> str:
        """What to draw with a LoRA if nobody said otherwise: its run's sample prompt, else its trigger."""
        entry = next((entry for entry in self.workbench.list_loras() if entry.name == lora), None)
        if entry is None:
            return ""
        with suppress(UserError):
            if run := run_of(entry.metadata, self.workbench.runs):
                return sample_prompt_of(run, self.workbench.host.literal).splitlines()[0]
        return entry.metadata.get("modelspec.trigger_phrase", "")

    def size_for(self, lora: Path) -> list[Any]:
        """Updates of the preview's fields to the size that a LoRA was trained at."""
        return self.generation.trained_at(read_metadata(lora))

    def _first_of(self, job: MergeView) -> Path | None:
        """The first LoRA of a formula of several, to be seen without the others."""
        with suppress(UserError):
            terms = parse(job.title)
            return self.workbench.lora_path(terms[0].name) if len(terms) > 1 else None
        return None

    def now(self, named: int, *fields: Any) -> list[Any]:
        """Updates of progress, report, preview and buttons."""
        queue = self.workbench.queue
        job = newest(self._merges())
        drawn = newest([j for j in of_type(queue, PairView) if j.kind == MergePreviewJob.kind])
        writing = newest(of_type(queue, CheckpointView))
        busy = any(j is not None and not j.ended for j in (job, drawn, writing))
        done = job is not None and job.state == DONE
        fresh = drawn is not None and job is not None and drawn.id > job.id
        new = done and job.id != named
        stale = self._stale(job, fields)
        ready = gr.update(interactive=not stale)
        return [
            "" if stale and job.ended else progress(job),
            gr.update(interactive=busy),
            _report(job, stale) if done else "" if job and not stale else _empty(),
            gr.update(visible=done),
            progress(drawn) if fresh else "",
            self._drawn(drawn, job) if fresh and not stale else "",
            ready,
            ready,
            job.name if new else SKIP,
            job.id if done else named,
            *self.preview_size(job.merged if new else None),
        ]

    def preview_size(self, merged: Merged | None) -> list[Any]:
        """Updates of the preview's fields to the size that a new merge was trained at."""
        return self.generation.trained_at(merged.metadata if merged else {})

    def _drawn(self, drawn: PairView, job: MergeView) -> str:
        """Neither, the first LoRA alone, and the merge."""
        first = self._first_of(job)
        named = ((drawn.before, "without any LoRA"), (drawn.alone, f"{first.stem} alone" if first else ""))
        shown = [(path, name) for path, name in (*named, (drawn.after, job.title)) if path is not None]
        return side_by_side(shown, self.pictures) if drawn.after is not None else ""

    def _merges(self) -> list[MergeView]:
        """Those of this page; the API saves its own."""
        return [job for job in of_type(self.workbench.queue, MergeView) if job.kind == MergedJob.kind]

    def _calculated(self) -> tuple[MergeView, Merged]:
        job = newest(self._merges())
        if job is None or job.merged is None:
            raise UserError("Nothing is calculated yet", fix="Press Calculate and look at the error first")
        return job, job.merged


def _empty() -> str:
    return html.hint(EMPTY, more=html.guides("style"))


def _report(job: MergeView, stale: bool) -> str:
    report = f'<p class="lw-prompt">{html.escape(job.title)} <span class="lw-quiet">{job.reduction}</span></p>'
    report += merge_report(job.merged, job.reduction, job.curve) if job.merged else ""
    return f'{html.message(STALE, html.WARNING)}<div class="lw-stale">{report}</div>' if stale else report
