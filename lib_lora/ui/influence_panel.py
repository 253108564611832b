"""Which training pictures did what a cell of the grid shows, and the same run without some of them."""

from __future__ import annotations

from typing import Any

import gradio as gr

from lib_lora.access import changes
from lib_lora.errors import UserError
from lib_lora.jobs.views import InfluenceView
from lib_lora.tools.influence import Shown
from lib_lora.tools.picks import Pick
from lib_lora.tools.pictures import read_png
from lib_lora.ui import html
from lib_lora.ui.actions import act, panel
from lib_lora.ui.compat import SKIP
from lib_lora.ui.files import Pictures
from lib_lora.ui.grid_place import GridPlace
from lib_lora.ui.job_view import newest, of_type, progress
from lib_lora.ui.poll import Poller
from lib_lora.workbench import Workbench
from lib_lora.workbench.revisit import find_influence, train_without

WHY = "lw_grid_why"  # the hidden field that the button under a picture writes into
RIGHT = 4  # pictures with a star that it is compared with
INTRO = (
    "A hint, not a proof. First comes the training picture that seems to have taught what you see here. In trials with "
    "one wrong picture among 24, it came first in 9 sets of 10. Pictures with a star count as good: star some without "
    "the fault, and ask again."
)


def why_button(image: str) -> str:
    """Below a picture of the grid; ``image``: as ``grid.json`` names it."""
    return html.pick_button("Which pictures did this?", WHY, image)


class InfluencePanel:
    """Below the chosen cell."""

    def __init__(self, workbench: Workbench, pictures: Pictures):
        self.workbench, self.pictures = workbench, pictures

    def build(self) -> None:
        """The pictures of the set that a cell may come from; hidden before one is asked for."""
        self.why = gr.Textbox("", label="Picture to explain", elem_id=WHY, elem_classes=["lw-hidden"])
        self.message = panel("lw_grid_why_message")
        self.progress = panel("lw_grid_why_progress")
        with gr.Column(visible=False, elem_id="lw_grid_influence") as self.panel:
            self.ranked = panel("lw_grid_ranked")
            self.out = gr.CheckboxGroup(
                choices=[], value=[], label="Training pictures to leave out", elem_id="lw_grid_leave_out"
            )
            with gr.Row(elem_classes=["lw-actions"]):
                self.again = gr.Button("Leave these out and train again", elem_id="lw_grid_train_without", size="sm")

    def connect(self, poller: Poller, run: gr.Dropdown) -> None:
        """``run``: the field of the grid's run."""
        act(self.why.change, self.start, [run, self.why], self.message, [self.out])
        act(self.again.click, self.train, [run, self.out], self.message)
        poller.keep(self.now, [self.progress, self.panel, self.ranked, self.out], [run])

    @changes
    def start(self, name: str, pick: str) -> list[Any]:
        """``cells/….png``, followed by the time of the click."""
        place, image = GridPlace(self.workbench, name), pick.rpartition("|")[0]
        if not image:
            return ["", SKIP]  # gradio also says when it empties the field
        cell = next((cell for cell in place.read().get("cells", ()) if cell["image"] == image), None)
        if cell is None or not place.of_run or not (path := place.folder / image).is_file():
            raise UserError("This picture is gone", where=name, fix="Make the grid of a run, and choose a cell")
        about = f"{cell['file']}, seed {cell['seed']}"
        wrong = [Shown(read_png(path), cell["prompt"])]
        find_influence(self.workbench, name, wrong, about, self._starred(place, cell))
        return ["", gr.update(value=[])]

    @changes
    def train(self, name: str, chosen: list[str] | None) -> list[Any]:
        """Queue the same training without the chosen pictures."""
        job = newest(self._jobs(name))
        pictures = {job.name_of(one): one.picture for one in job.found} if job is not None else {}
        train_without(self.workbench, name, [pictures[text] for text in chosen or [] if text in pictures])
        text = "Trains again without what these pictures taught; all else is the same to the bit. See Train."
        return [html.until_idle(text)]

    def now(self, name: str | None) -> list[Any]:
        """Progress, or the pictures that were found."""
        job = newest(self._jobs(name))
        if job is None or not job.found:
            return [progress(job, cancels=True), gr.update(visible=False), "", SKIP]
        shown = "".join(
            html.picture(self.pictures.url(thumbnail), f"{job.name_of(one)} {one.score:+.2f}")
            for one, thumbnail in zip(job.found, job.thumbnails, strict=False)
        )
        told = f'<p class="lw-prompt">{html.escape(job.title)}</p><p class="lw-quiet">{INTRO}</p>'
        names = [job.name_of(one) for one in job.found[: len(job.thumbnails)]]
        ranked = f'{told}<div class="lw-strip">{shown}</div>'
        return [progress(job, cancels=True), gr.update(visible=True), ranked, gr.update(choices=names)]

    def _starred(self, place: GridPlace, wrong: Any) -> list[Shown]:
        """What is right: pictures of cells with a star, those of the same prompt first."""
        stars = place.picks().stars
        cells = [c for c in place.read()["cells"] if Pick(c["file"], c["weight"], c["blocks"]) in stars and c != wrong]
        cells.sort(key=lambda cell: cell["prompt"] != wrong["prompt"])
        paths = [(place.folder / cell["image"], cell["prompt"]) for cell in cells]
        return [Shown(read_png(path), prompt) for path, prompt in paths if path.is_file()][:RIGHT]

    def _jobs(self, name: str | None) -> list[InfluenceView]:
        return [job for job in of_type(self.workbench.queue, InfluenceView) if job.run == name]
