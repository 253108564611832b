"""Slider: two prompts, or pictures before and after, become a LoRA that goes both ways."""

from __future__ import annotations

from typing import Any

import gradio as gr

from lib_lora.access import changes, looks
from lib_lora.errors import UserError
from lib_lora.jobs.views import DONE
from lib_lora.tools.grid import RECORD
from lib_lora.tools.made.pairs import GridColumns, grid_columns
from lib_lora.ui import html
from lib_lora.ui.actions import NO_MESSAGE, act, panel
from lib_lora.ui.choices import run_names
from lib_lora.ui.generation import GenerationFields
from lib_lora.ui.grid_place import FOLDER, GridPlace, saved_grids
from lib_lora.ui.job_view import newest, progress
from lib_lora.ui.poll import Poller
from lib_lora.ui.values import lines
from lib_lora.workbench import Workbench
from lib_lora.workbench.sliders import PICTURES, STEPS, SliderSpec, start_slider

INTRO = (
    "One LoRA, two directions: smile at a positive weight, frown at a negative one, from -3 to 3; all else stays. The "
    "model draws its own pictures of the prompts below and learns the difference on them, in one job."
)
NO_GRID = "no grid"
EXAMPLE = "1girl, solo, upper body\n1boy, solo, full body"


class SliderPanel:
    """A fold of Train; the job is a training like any other, with its loss, Stop and Runs."""

    def __init__(self, workbench: Workbench):
        self.workbench = workbench
        self.runs, self.saved = run_names(workbench), saved_grids(workbench)
        self.generation = GenerationFields("Slider pictures", "lw_slider_draw")
        self._job = 0  # that was begun last

    def build(self) -> None:
        """Both ends as tags, or as folders of pairs."""
        with gr.Accordion("Slider: two prompts, or before and after", open=False, elem_id="lw_slider"):
            gr.HTML(f'<p class="lw-quiet">{INTRO}</p>', elem_classes=["lw-html"])
            with gr.Row(elem_classes=["lw-fields"]):
                self.name = gr.Textbox("", label="Name of the slider", elem_id="lw_slider_name")
                self.more = gr.Textbox(
                    "", label="Positive end", info="Tags, such as smile", elem_id="lw_slider_more_of"
                )
                self.less = gr.Textbox(
                    "", label="Negative end", info="Such as frown; empty: without those", elem_id="lw_slider_less_of"
                )
            with gr.Row(elem_classes=["lw-fields"]):
                self.prompts = gr.Textbox(
                    "",
                    label="Prompts to learn on",
                    info="One a line, taken in turn. What they name is held: vary what must not change",
                    placeholder=EXAMPLE,
                    lines=3,
                    elem_id="lw_slider_prompts",
                )
            with gr.Row(elem_classes=["lw-fields"]):
                self.before = gr.Textbox(
                    "", label="Pictures before", info="A folder, instead of tags", elem_id="lw_slider_before"
                )
                self.after = gr.Textbox(
                    "", label="Pictures after", info="Of the same names and sizes", elem_id="lw_slider_after_folder"
                )
            with gr.Row(elem_classes=["lw-fields"]):
                self.grid = gr.Dropdown(
                    choices=self._grids(),
                    value=NO_GRID,
                    label="Or two columns of a grid",
                    info="A run's, or another one that is kept; each row is a pair",
                    elem_id="lw_slider_grid",
                    interactive=True,
                )
                self.left, self.right = (
                    gr.Dropdown(
                        choices=[],
                        value=None,
                        label=label,
                        elem_id=f"lw_slider_{key}",
                        interactive=True,
                        allow_custom_value=True,
                    )
                    for key, label in (("left", "Column before"), ("right", "Column after"))
                )
            with gr.Row(elem_classes=["lw-fields"]):
                self.steps = gr.Number(STEPS, precision=0, label="Slider steps", elem_id="lw_slider_steps")
                self.strength = gr.Number(
                    SliderSpec.strength,
                    label="Strength at weight 1",
                    info="In differences between both ends",
                    elem_id="lw_slider_strength_of",
                )
                self.rank = gr.Number(SliderSpec.rank, precision=0, label="Slider rank", elem_id="lw_slider_rank")
                self.count = gr.Number(PICTURES, precision=0, label="Pictures to learn on", elem_id="lw_slider_count")
            self.generation.build(self.workbench.host)
            with gr.Row(elem_classes=["lw-actions"]):
                self.start = gr.Button("Train the slider", variant="primary", elem_id="lw_slider_start")
            self.message = panel("lw_slider_message")
            self.progress = panel("lw_slider_progress")

    def connect(self, poller: Poller) -> None:
        """The button, and the columns of a grid."""
        fields = [self.name, self.more, self.less, self.prompts, self.before, self.after]
        fields += [self.grid, self.left, self.right]
        act(self.grid.change, self.columns, [self.grid], self.message, [self.left, self.right])
        poller.keep(self.now, [self.grid], [self.grid])
        poller.keep(self.where_it_is, [self.progress])
        numbers = [self.steps, self.strength, self.rank, self.count]
        act(self.start.click, self.train, [*fields, *numbers, *self.generation.components], self.message)

    @looks
    def columns(self, grid: str | None) -> list[Any]:
        """The columns of the chosen grid."""
        place = self._place(grid)
        names = grid_columns(place.read()) if place else []
        ends = (names[0], names[-1]) if names else (None, None)
        return [NO_MESSAGE, *(gr.update(choices=names, value=end) for end in ends)]

    @looks
    def now(self, grid: str | None) -> list[Any]:
        """The grids that pairs may come from."""
        return [gr.update(choices=list(dict.fromkeys([*self._grids(), *([grid] if grid else [])])))]

    def where_it_is(self) -> list[Any]:
        """Progress of the slider that was begun last, then how to use it."""
        jobs = [job for job in self.workbench.queue.jobs() if job.id == self._job]
        if jobs and jobs[0].state == DONE:
            text = f"{jobs[0].title} is trained. Use it at weights from -3 to 3."
            return [html.message(text, html.GOOD)]
        return [progress(newest(jobs), cancels=True)]

    def _place(self, grid: str | None) -> GridPlace | None:
        if not grid or grid == NO_GRID:
            return None
        if grid not in self._grids():
            raise UserError("There is no such grid", where="Or two columns of a grid", fix="Choose one from the list")
        return GridPlace(self.workbench, grid)

    def _grids(self) -> list[str]:
        """None, the runs that have a grid, and the grids of no run."""
        folder = self.workbench.host.paths.runs
        runs = [name for name in self.runs() if (folder / name / FOLDER / RECORD).is_file()]
        return [NO_GRID, *runs, *self.saved()]

    @changes(paths=("before", "after"))
    def train(
        self, name: str, more: str, less: str, prompts: str, before: str, after: str, grid: str | None,
        left: str | None, right: str | None, steps: float | None, strength: float | None, rank: float | None,
        count: float | None, *generation: Any,
    ) -> str:  # fmt: skip
        """Queue the pictures and the training."""
        if None in (steps, strength, rank, count):
            raise UserError("A number is missing", where="Slider", fix="For example 200 steps, strength 1, rank 4")
        assert steps is not None and strength is not None and rank is not None and count is not None
        place = self._place(grid)
        columns = GridColumns(place.folder, left or "", right or "") if place else None
        paired = columns is not None or bool((before or "").strip() or (after or "").strip())
        spec = SliderSpec(
            (name or "").strip(), more or "", less or "",
            () if paired else tuple(lines(prompts or "", where="Prompts to learn on")), int(count), before or "",
            after or "", int(steps), float(strength), int(rank), self.generation.request(generation), columns,
        )  # fmt: skip
        self._job = start_slider(self.workbench, spec)
        return NO_MESSAGE
