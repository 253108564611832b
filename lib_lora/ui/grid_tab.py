"""Epoch grid: every epoch at every weight, and the choice among them."""

from __future__ import annotations

from typing import Any

import gradio as gr

from lib_lora.errors import UserError
from lib_lora.jobs.job import JobView
from lib_lora.jobs.tool_jobs import GridJob, keep_epoch
from lib_lora.tools.grid import Candidate, GridSpec
from lib_lora.tools.lora_files import new_lora_path
from lib_lora.training.run_store import Run
from lib_lora.ui import html
from lib_lora.ui.actions import act, panel
from lib_lora.ui.choices import choices, run_names, sample_prompt_of
from lib_lora.ui.compat import SKIP, listen
from lib_lora.ui.files import Pictures
from lib_lora.ui.generation import GenerationFields
from lib_lora.ui.grid_view import FOLDER, Chosen, GridView, parse_pick, read_grid
from lib_lora.ui.job_view import newest, progress
from lib_lora.ui.poll import Poller
from lib_lora.ui.values import lines, numbers, show, whole_numbers
from lib_lora.workbench import Workbench

EMPTY = "Choose a run and make a grid: the same prompt and seed at each epoch and weight, so that only they differ."
NO_RUNS = "There is no run yet. Train a LoRA first; its epochs can be compared here."


class GridTab:
    """Choose a run, say what to compare, click the best picture, keep it."""

    def __init__(self, workbench: Workbench, pictures: Pictures):
        self.workbench = workbench
        self.pictures = pictures
        self.runs = run_names(workbench)
        self.generation = GenerationFields("Grid", "lw_grid")

    # -- components ---------------------------------------------------------------------------------------------------

    def build(self) -> None:
        with gr.Row(elem_classes=["lw-fields"]):
            self.run = gr.Dropdown(
                choices=self.runs(),
                value=None,
                label="Run to compare",
                elem_id="lw_grid_run",
                interactive=True,
                scale=2,
            )
            self.epochs = gr.Textbox(
                "", label="Epochs to compare", info="empty: all; a list or range: 2, 4-8", elem_id="lw_grid_epochs"
            )
            self.weights = gr.Textbox(
                "0.6-1.0:0.2",
                label="Weights to compare",
                info="a list or a range: 0.6-1.0:0.2",
                elem_id="lw_grid_weights",
            )
            self.seeds = gr.Textbox(
                "1", label="Grid seeds", info="each makes a table of its own", elem_id="lw_grid_seeds"
            )
        self.prompts = gr.Textbox(
            "", label="Grid prompts", info="one a line; write the trigger yourself", lines=2, elem_id="lw_grid_prompts"
        )
        self.generation.build(self.workbench.host)
        self.plan = panel("lw_grid_plan")
        with gr.Row(elem_classes=["lw-actions"]):
            self.make = gr.Button("Make grid", variant="primary", elem_id="lw_grid_make")
            self.cancel = gr.Button("Cancel grid", elem_id="lw_grid_cancel", interactive=False)
        self.message = panel("lw_grid_message")
        self.progress = panel("lw_grid_progress")
        self.grid = panel("lw_grid_table", html.hint(EMPTY))
        self.pick = gr.Textbox("", label="Chosen cell", elem_id="lw_grid_pick", elem_classes=["lw-hidden"])
        self.chosen = panel("lw_grid_chosen")
        with gr.Row(elem_classes=["lw-actions"], visible=False) as self.choice_row:
            self.name = gr.Textbox(
                value="",
                label="Keep as",
                info=".safetensors, in the LoRA folder; nothing is overwritten",
                elem_id="lw_grid_name",
            )
            self.keep = gr.Button("Keep this one", elem_id="lw_grid_keep")
            self.tune = gr.Button("Tune its blocks →", elem_id="lw_grid_tune")
        self.saved = panel("lw_grid_saved")

    # -- events -------------------------------------------------------------------------------------------------------

    def connect(self, poller: Poller, tabs: gr.Tabs, blocks_lora: gr.Dropdown) -> None:
        """``blocks_lora``: the LoRA that the blocks tab shows; the link to it carries the kept one along."""
        what = [self.run, self.epochs, self.weights, self.seeds, self.prompts, *self.generation.components]
        filled = [self.epochs, self.weights, self.seeds, self.prompts, self.name, *self.generation.components]
        listen(self.run.change, self.fill, [self.run], filled)
        act(self.make.click, self.start, what, self.message)
        act(self.cancel.click, self.end, [], self.message)
        act(self.pick.change, self.choose, [self.run, self.pick], self.message, [self.name])
        act(self.keep.click, self.keep_chosen, [self.run, self.name], self.saved)
        act(self.tune.click, self.to_blocks, [self.run, self.name], self.saved, [tabs, blocks_lora])
        poller.keep(
            self.now, [self.run, self.progress, self.cancel, self.grid, self.chosen, self.choice_row], [self.run]
        )
        poller.keep(lambda *values: [self.announce(*values)], [self.plan], what)

    def fill(self, run_id: str | None) -> list[Any]:
        """Sensible values for a run: those of its last grid, else its own prompts and size."""
        count = 5 + len(self.generation.components)
        if not run_id:
            return [SKIP] * count
        try:
            run = self.workbench.runs.open(run_id)
            before = read_grid(run.folder / FOLDER)
            config = run.config()
        except UserError:
            return [SKIP] * count
        prompts = "\n".join(before["prompts"]) if before else sample_prompt_of(run)
        weights, seeds = (show(before["weights"]), show(before["seeds"])) if before else (SKIP, SKIP)
        size = before["settings"] if before else {"width": config.resolution, "height": config.resolution}
        clip_skip = size.get("clip_skip", config.clip_skip)
        return [
            "",
            weights,
            seeds,
            prompts,
            self._name(run),
            *self.generation.sized(size["width"], size["height"], clip_skip),
        ]

    def announce(self, *values: Any) -> str:
        """How much work the button would be."""
        if values[0] not in self.runs():
            return ""
        try:
            spec = self.spec(*values)
        except UserError as error:
            return html.error_message(error)
        count = len(spec.cells())
        size = spec.settings
        cost = next((c for job in self._jobs()[::-1] if (c := job.data.get("cost"))), None)
        time = html.duration(max(1, cost * count * size.width * size.height * size.steps)) if cost else ""
        text = f"Will make {html.plural(count, 'image')} of {size.width}×{size.height}" + (
            f", about {time}" if time else ""
        )
        return f'<span class="lw-quiet">{text}.</span>'

    def start(self, *values: Any) -> str:
        spec = self.spec(*values)
        run = self.workbench.runs.open(values[0])
        queue = self.workbench.queue
        queue.submit(GridJob(queue, f"Grid of {run.config().name}", spec, run.folder / FOLDER))
        return ""

    def end(self) -> str:
        job = newest(self._jobs())
        if job is not None and not job.ended:
            self.workbench.queue.cancel(job.id)
        return html.message("Cancelled; what is done stays, and is not made again.")

    def choose(self, run_id: str, pick: str) -> list[Any]:
        chosen = parse_pick(pick)
        run = self.workbench.runs.open(run_id)
        run.choose(chosen.epoch, chosen.weight)
        return ["", self._name(run)]

    def keep_chosen(self, run_id: str, name: str) -> str:
        chosen = self._chosen(run_id)
        if chosen is None:
            raise UserError("No cell is chosen", fix="Click a picture of the grid")
        target = new_lora_path(name, self.workbench.host.paths.loras)
        keep_epoch(self._file(run_id, chosen.epoch), chosen.weight, target)
        self.workbench.host.refresh_loras()
        return html.message(f"Saved {target.name}. Tune its blocks, or subtract the base style under Merge.", html.GOOD)

    def to_blocks(self, run_id: str, name: str) -> list[Any]:
        """Carry the kept LoRA along, or the epoch itself if it was not kept."""
        names = [lora.name for lora in self.workbench.list_loras()]
        chosen = self._chosen(run_id)
        if name not in names and chosen is not None:
            name = self._file(run_id, chosen.epoch).stem
        return ["", gr.update(selected="blocks"), gr.update(choices=names, value=name)]

    # -- what is shown ------------------------------------------------------------------------------------------------

    def now(self, run_id: str | None) -> list[Any]:
        names = self.runs()
        job = newest(self._jobs())
        busy = gr.update(interactive=job is not None and not job.ended)
        try:
            grid, chosen = self._show(run_id) if run_id in names else ("", "")
        except UserError as error:
            grid, chosen = html.error_message(error), ""
        grid = grid or html.hint(EMPTY if names else NO_RUNS)
        return [choices(names, run_id), progress(job), busy, grid, chosen, gr.update(visible=bool(chosen))]

    def _show(self, run_id: str) -> tuple[str, str]:
        folder = self.workbench.runs.open(run_id).folder / FOLDER
        grid = read_grid(folder)
        if not grid:
            return "", ""
        chosen = self._chosen(run_id)
        view = GridView(grid, folder, self.workbench.epoch_files(run_id), chosen, self.pictures)
        if chosen is None:
            return view.render() + '<p class="lw-quiet">Click the picture you like best.</p>', ""
        return view.render(), f'<p class="lw-prompt">★ Chosen: {chosen}</p>{view.chosen_pictures()}'

    # -- small parts --------------------------------------------------------------------------------------------------

    def spec(
        self, run_id: str | None, epochs: str, weights: str, seeds: str, prompts: str, *generation: Any
    ) -> GridSpec:
        """What the fields ask for.

        Raises:
            UserError: naming the field that cannot be read.
        """
        if not run_id:
            raise UserError("No run is chosen", where="Run to compare", fix="Train a LoRA first")
        saved = {e.epoch: e.path for e in self.workbench.epoch_files(run_id)}
        wanted = whole_numbers(epochs, where="Epochs to compare") if (epochs or "").strip() else list(saved)
        if not wanted:
            raise UserError("No epoch is saved yet", where=run_id, fix="Wait until the first epoch of the run ends")
        if missing := [e for e in wanted if e not in saved]:
            fix = f"Saved are {show(list(saved))}" if saved else "Wait until the first epoch is saved"
            raise UserError(f"Epoch {missing[0]} has no LoRA file", where="Epochs to compare", fix=fix)
        return GridSpec(
            files=tuple(Candidate(f"e{e}", saved[e]) for e in wanted),
            weights=tuple(numbers(weights, where="Weights to compare")),
            prompts=tuple(lines(prompts, where="Grid prompts")),
            seeds=tuple(whole_numbers(seeds, where="Grid seeds")),
            settings=self.generation.request(generation),
        )

    def _name(self, run: Run) -> str:
        """A name for the chosen cell: ``mira-e4-w0.8``."""
        if not (chosen := run.chosen()):
            return ""
        weight = f"-w{chosen['weight']:g}" if chosen["weight"] != 1 else ""
        return f"{run.config().name}-e{chosen['epoch']}{weight}"

    def _chosen(self, run_id: str) -> Chosen | None:
        found = self.workbench.runs.open(run_id).chosen()
        return Chosen(**found) if found else None

    def _file(self, run_id: str, epoch: int) -> Any:
        for saved in self.workbench.epoch_files(run_id):
            if saved.epoch == epoch:
                return saved.path
        raise UserError(f"The file of epoch {epoch} is gone", where=run_id, fix="Choose another epoch")

    def _jobs(self) -> list[JobView]:
        return [job for job in self.workbench.queue.jobs() if job.kind == GridJob.kind]
