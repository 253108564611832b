"""Epoch grid: every epoch at every weight, and whatever else is to be compared; and the choice among them."""

from __future__ import annotations

from functools import partial
from itertools import islice
from typing import Any

import gradio as gr

from lib_lora.access import changes, looks
from lib_lora.errors import UserError
from lib_lora.jobs.grid_job import GridJob, training_pictures
from lib_lora.jobs.views import GridView as GridJobView
from lib_lora.tools.likeness import read_likeness
from lib_lora.ui import html
from lib_lora.ui.actions import NO_MESSAGE, act, panel
from lib_lora.ui.choices import choices
from lib_lora.ui.compat import SKIP, listen
from lib_lora.ui.files import Pictures
from lib_lora.ui.grid_export import GridExport
from lib_lora.ui.grid_fields import GridFields
from lib_lora.ui.grid_more import FIELD, added, offers
from lib_lora.ui.grid_place import FILES, GridPlace
from lib_lora.ui.grid_view import GridView, badges, parse_pick
from lib_lora.ui.influence_panel import InfluencePanel
from lib_lora.ui.job_view import newest, of_type, progress
from lib_lora.ui.poll import Poller
from lib_lora.workbench import Workbench

EMPTY = "Choose a run and make a grid: the same prompt and seed at each epoch and weight, so that only they differ."
NO_RUNS = f"There is no run yet. Train a LoRA first; its epochs can be compared here. Or choose “{FILES}” as the run."
KEYS = "arrow keys move · Enter chooses · double-click enlarges · hold B: the chosen picture in its place"
BAR = (
    '<div class="lw-grid-bar"><label>Size <input type="range" min="64" max="448" step="8" value="152" '
    f'data-lw-cell-size aria-label="Size of the pictures"></label><span class="lw-quiet">{KEYS}</span></div>'
)
CANCELLED = "Cancelled; what is done stays, and is not made again."
PICK_ONE = (
    "Click the picture you like best; double-click enlarges, and the arrow keys go on from there. The star in a corner "
    "marks those that you want to see side by side."
)

NO_PROMPT = "Write one prompt a line."


class GridTab:
    """Choose a run, say what to compare, click the best picture, keep it."""

    def __init__(self, workbench: Workbench, pictures: Pictures):
        self.workbench = workbench
        self.pictures = pictures
        self.fields = GridFields(workbench)
        self.export = GridExport(workbench)
        self.influence = InfluencePanel(workbench, pictures)

    # -- components ---------------------------------------------------------------------------------------------------

    def build(self) -> None:
        """Fields, buttons and the grid."""
        self.fields.build()
        self.plan = panel("lw_grid_plan")
        with gr.Row(elem_classes=["lw-actions"]):
            self.make = gr.Button("Make grid", variant="primary", elem_id="lw_grid_make")
            self.cancel = gr.Button("Cancel grid", elem_id="lw_grid_cancel", interactive=False)
        self.message = panel("lw_grid_message")
        self.progress = panel("lw_grid_progress")
        self.pick = gr.Textbox("", label="Chosen cell", elem_id="lw_grid_pick", elem_classes=["lw-hidden"])
        self.star = gr.Textbox("", label="Cell with a star", elem_id="lw_grid_star", elem_classes=["lw-hidden"])
        self.more = gr.Textbox("", label="More of the grid", elem_id=FIELD, elem_classes=["lw-hidden"])
        with gr.Row(elem_classes=["lw-desk"]):
            with gr.Column(scale=7, min_width=420, elem_classes=["lw-controls"]):
                panel("lw_grid_bar", BAR)
                self.grid = panel("lw_grid_table", html.hint(EMPTY))
            with gr.Column(scale=4, min_width=320, elem_classes=["lw-look"]):
                self.chosen = panel("lw_grid_chosen")
                self.export.build()
                self.influence.build()

    @property
    def run(self) -> gr.Dropdown:
        """The run that is shown; other tabs set it."""
        return self.fields.run

    # -- events -------------------------------------------------------------------------------------------------------

    def connect(self, poller: Poller, tabs: gr.Tabs, blocks_lora: gr.Dropdown, publish_lora: gr.Dropdown) -> None:
        """``blocks_lora``, ``publish_lora``: what those tabs show; the links to them carry the kept one along."""
        what, run = self.fields.components, self.run
        act(run.change, self.fill, [run], self.message, [*self.fields.filled, *self.export.filled])
        act(self.make.click, self.start, what, self.message)
        grown = [self.fields.weights, self.fields.seeds]
        act(self.more.change, self.draw_more, [self.more, *what], self.message, grown)
        act(self.cancel.click, self.end, [], self.message)
        looked_at = [self.grid, self.chosen, self.export.panel]
        answer = [*looked_at, *self.export.filled]
        chosen = act(self.pick.change, self.choose, [run, self.pick], self.message, answer)
        listen(chosen.then, self.export.follow, [run, blocks_lora], [blocks_lora])
        act(self.star.change, self.give_star, [run, self.star], self.message, looked_at)
        self.export.connect(run, tabs, blocks_lora, publish_lora)
        self.influence.connect(poller, run)
        poller.keep(self.now, [run, self.fields.others, self.progress, self.cancel, *looked_at], [run])
        poller.keep(lambda *values: [self.announce(*values)], [self.plan], what)

    @looks
    def fill(self, name: str | None) -> list[Any]:
        """What another run brings along."""
        return [NO_MESSAGE, *self.fields.of_run(name), *self.export.of_choice(name)]

    def announce(self, *values: Any) -> str:
        """How much work the button would be."""
        if values[0] not in self.fields.names():
            return ""
        if not (values[4] or "").strip():  # as on a page that is still being filled: no mistake yet
            return f'<span class="lw-quiet">{NO_PROMPT}</span>'
        try:
            spec = self.fields.spec(*values)
        except UserError as error:
            return html.error_message(error)
        count, size = len(spec.cells()), spec.settings
        cost = next((c for job in self._jobs()[::-1] if (c := job.cost)), None)
        time = html.duration(max(1, cost * count * size.width * size.height * size.steps)) if cost else ""
        tables = len(list(spec.tables()))
        text = f"Will make {html.plural(count, 'image')} of {size.width}×{size.height}"
        text += f" in {tables} tables" if tables > 1 else ""
        return f'<span class="lw-quiet">{text}{f", about {time}" if time else ""}.</span>'

    @changes
    def start(self, *values: Any) -> str:
        """Queue the grid; during a training it is drawn between steps. A mistake in a field stands above the button."""
        try:
            spec = self.fields.spec(*values)
        except UserError:
            if "lw-error" in self.announce(*values):
                return ""
            raise
        place = GridPlace(self.workbench, values[0])
        config = place.config()
        title = f"Grid of {config.name if config else 'LoRA files'}"
        training = partial(training_pictures, config) if config else None
        queue = self.workbench.queue
        queue.submit(GridJob(queue, title, spec, place.folder, training))
        return ""

    @changes
    def draw_more(self, pick: str, *values: Any) -> list[Any]:
        """Another weight or seed; the pictures that are there are not made again."""
        fields = dict(zip(self.fields.components, values, strict=True))
        weights, seeds = self.fields.weights, self.fields.seeds
        fields[weights], fields[seeds] = added(pick, fields[weights], fields[seeds])
        return [self.start(*fields.values()), fields[weights], fields[seeds]]

    @changes
    def end(self) -> str:
        """Cancel the newest grid; what is done stays."""
        job = newest(self._jobs())
        if job is not None and not job.ended:
            self.workbench.queue.cancel(job.id)
        return ""

    @changes
    def choose(self, name: str, pick: str) -> list[Any]:
        """Choose a cell, as ``pick`` names it; a name that was typed for it stays where it is chosen already."""
        place, chosen = GridPlace(self.workbench, name), parse_pick(pick)
        again = place.picks().chosen == chosen
        place.choose(chosen)
        return [NO_MESSAGE, *self._looked_at(name), *([SKIP, SKIP] if again else self.export.of_choice(name))]

    @changes
    def give_star(self, name: str, pick: str) -> list[Any]:
        """Give a cell a star, or take it away."""
        GridPlace(self.workbench, name).star(parse_pick(pick))
        return [NO_MESSAGE, *self._looked_at(name)]

    # -- what is shown ------------------------------------------------------------------------------------------------

    def now(self, name: str | None) -> list[Any]:
        """Updates of the list of runs, the grid, progress and buttons."""
        names = self.fields.names()
        job = newest(self._jobs())
        busy = gr.update(interactive=job is not None and not job.ended)
        begun = len(names) > 1 or bool(GridPlace(self.workbench, FILES).read())  # else the first run shall be chosen
        others = gr.update(choices=list(self.fields.loras()))
        run = choices(self._to_begin_with(names) if name not in names else names, name, first=begun)
        return [run | {"choices": names}, others, progress(job, cancelled=CANCELLED), busy, *self._looked_at(name)]

    def _looked_at(self, name: str | None) -> list[Any]:
        """The grid, what is chosen in it, and whether that can be kept."""
        names = self.fields.names()
        try:
            grid, chosen, is_chosen = self._show(name) if name in names else ("", "", False)
        except UserError as error:
            grid, chosen, is_chosen = html.error_message(error), "", False
        grid = grid or (html.hint(EMPTY) if name or len(names) > 1 else _no_runs())
        return [grid, chosen, gr.update(visible=is_chosen)]

    def _to_begin_with(self, names: list[str]) -> list[str]:
        """The same with the newest run first that has something to compare; one without a whole epoch has not."""
        folder = self.workbench.host.paths.runs
        files = ((run, folder / run / "epochs.json") for run in names[: len(self.fields.runs())])
        with_epochs = (run for run, file in files if file.is_file() and file.stat().st_size > len("[]"))
        return list(dict.fromkeys([*islice(with_epochs, 1), *names]))

    def _show(self, name: str) -> tuple[str, str, bool]:
        """The grid, what is starred or chosen in it, and whether a cell is chosen."""
        place = GridPlace(self.workbench, name)
        grid = place.read()
        if not grid:
            return "", "", False
        picks = place.picks()
        hints = badges(place.epochs(), read_likeness(place.folder))
        view = GridView(grid, place.folder, hints, picks, self.pictures, explained=place.of_run)
        if picks.chosen is None:
            return view.render() + offers(grid), view.starred() + html.hint(PICK_ONE), False
        head = f'<p class="lw-prompt">Chosen: {html.escape(str(picks.chosen))}</p>'
        send = html.send_button(place.prompt_of(picks.chosen))
        return view.render() + offers(grid), view.starred() + head + view.pictures_of(picks.chosen) + send, True

    def _jobs(self) -> list[GridJobView]:
        return [job for job in of_type(self.workbench.queue, GridJobView) if job.kind == GridJob.kind]


def _no_runs() -> str:
    return html.hint(NO_RUNS, "Train a LoRA", "Train", html.guides("character", "likeness", "style", "two-subjects"))
