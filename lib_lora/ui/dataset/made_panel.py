"""Generate pictures: drawn by LoRAs, looked at one after the other, kept or left, and taken into the set."""

from __future__ import annotations

from html import escape
from typing import Any

import gradio as gr

from lib_lora.access import changes, looks
from lib_lora.dataset.collection.picture import Picture
from lib_lora.dataset.tags.pieces import first_line
from lib_lora.errors import UserError
from lib_lora.jobs.views import FolderView, JobView
from lib_lora.tools.made.prompts import as_caption, from_captions, from_tags
from lib_lora.tools.made.spec import PictureSpec
from lib_lora.tools.made.taking import usual_folder
from lib_lora.ui import html
from lib_lora.ui.actions import NO_MESSAGE, panel
from lib_lora.ui.dataset.pages import Connector
from lib_lora.ui.dataset.panel import Panel
from lib_lora.ui.generation import GenerationFields
from lib_lora.ui.job_view import newest, of_type, progress
from lib_lora.ui.poll import Poller
from lib_lora.ui.values import lines
from lib_lora.workbench import Workbench
from lib_lora.workbench.made import Drawn, MadePictures, drawings

STOPPED = "Stopped; what is drawn stays, and the same button goes on from there."
ANSWER = "lw_made_answer"  # the hidden field that a click on a picture writes into
KEEP, LEAVE, UNDO = "keep", "leave", "undo"
KEYS = ((KEEP, "K", "Keep"), (LEAVE, "L", "Leave"))
SHOWN = 120  # small pictures, around the large one
TYPED, CAPTIONS, TAGS = "the lines below", "captions of the set", "tags of the set, newly combined"
INTRO = (
    "Pictures that the checkpoint draws, alone or with your LoRAs, become training pictures: your best ones, each "
    "subject drawn by its own LoRA, or what you want to carry to another checkpoint. They become a folder of their own."
)


class MadePanel(Panel):
    """Draw, choose by click or key, take. Everything is on disk, so it goes on after a reload or a restart."""

    name, key = "Generate pictures", "made"

    def build(self) -> None:
        """What to draw, the pictures to choose from, and where they go."""
        host = self._workbench.host
        names, info = host.checkpoints(), host.info()
        gr.HTML(f'<p class="lw-quiet">{INTRO}</p>', elem_classes=["lw-html"])
        with gr.Row(elem_classes=["lw-fields"]):
            self.drawing = gr.Dropdown(
                choices=drawings(self._workbench),
                value="pictures",
                label="Name of the drawing",
                info="Choose an earlier one to go on with it",
                elem_id="lw_made_name",
                interactive=True,
                allow_custom_value=True,
            )
            self.checkpoint = gr.Dropdown(
                choices=names,
                value=info.name if info else None,
                label="Checkpoint to draw with",
                elem_id="lw_made_checkpoint",
                interactive=True,
            )
        with gr.Row(elem_classes=["lw-fields"]):
            self.loras = gr.Textbox(
                "", label="LoRAs that draw", info="NAME:weight, a comma between; empty: none", elem_id="lw_made_loras"
            )
            self.trigger = gr.Textbox(
                "", label="Trigger to draw with", info="First in prompts and captions", elem_id="lw_made_trigger"
            )
        with gr.Row(elem_classes=["lw-fields"]):
            self.source = gr.Dropdown(
                choices=[TYPED, CAPTIONS, TAGS],
                value=TYPED,
                label="Prompts from",
                info="Marked pictures of the set, or all",
                elem_id="lw_made_source",
                interactive=True,
            )
            self.before = gr.Textbox(
                "", label="Before each prompt", info="Quality words; in no caption", elem_id="lw_made_before"
            )
        with gr.Row(elem_classes=["lw-fields"]):
            self.prompts = gr.Textbox(
                "",
                label="Prompts to draw",
                info="One a line, taken in turn; each is its picture's caption, without (weights:1.2)",
                lines=3,
                elem_id="lw_made_prompts",
            )
        with gr.Row(elem_classes=["lw-fields"]):
            self.count = gr.Number(24, precision=0, label="Pictures to draw", elem_id="lw_made_count", min_width=90)
            self.seed = gr.Number(1, precision=0, label="Seed of the first", elem_id="lw_made_seed", min_width=90)
        self.generation = GenerationFields("Made pictures", "lw_made")
        self.generation.build(host)
        with gr.Row(elem_classes=["lw-actions"]):
            self.start = gr.Button("Draw pictures", variant="primary", elem_id="lw_made_start")
            self.cancel = gr.Button("Stop drawing", elem_id="lw_made_cancel", interactive=False)
        self.message = panel("lw_made_message")
        self.progress = panel("lw_made_progress")
        self.shown = panel("lw_made_shown")
        self.answer = gr.Textbox("", label="Kept or left", elem_id=ANSWER, elem_classes=["lw-hidden"])
        with gr.Row(elem_classes=["lw-fields", "lw-tight"]):
            self.folder = gr.Textbox(
                "", label="Folder in the set", info="Empty: made and its name", elem_id="lw_made_folder"
            )
            self.take = gr.Button("Add the kept to the set …", elem_id="lw_made_take", interactive=False)

    def connect(self, on: Connector) -> None:
        """Buttons, keys, and what follows the drawing."""
        drawn = [self.count, self.seed, self.loras, self.trigger, self.before, self.prompts]
        begun = [self.checkpoint, *drawn, *self.generation.components]
        on.act(self.start.click, self.do_start, [self.drawing, self.source, *begun], self.message, [self.shown])
        on.act(self.drawing.change, self.fill, [self.drawing], self.message, [self.shown, *begun])
        on.act(self.cancel.click, self.do_cancel, [self.drawing], self.message)
        on.act(self.answer.change, self.do_answer, [self.drawing, self.answer], self.message, [self.shown])
        on(self.take.click, self.do_take, [self.drawing, self.folder], self.message)

    def connect_live(self, on: Connector, page: gr.Blocks, poller: Poller) -> None:
        """What follows the job and the disk."""
        on.listen(page.load, self.newest_drawing, [], [self.drawing])
        on.keep(poller, self.now, [self.progress, self.shown, self.cancel, self.take], [self.drawing])
        poller.keep(self.now_names, [self.drawing], [self.drawing])

    # -- what the user does -------------------------------------------------------------------------------------------

    @changes
    def do_start(
        self, name: str | None, source: str, checkpoint: str | None, count: float | None, seed: float | None,
        loras: str, trigger: str, before: str, prompts: str, *generation: Any,
    ) -> list[Any]:  # fmt: skip
        """Queue what is missing of the drawing."""
        if not checkpoint:
            raise UserError("No checkpoint is chosen", where="Checkpoint to draw with", fix="Choose one")
        if count is None or seed is None:
            fix = "For example 24 and 1"
            raise UserError("A number is missing", where="Pictures to draw or Seed of the first", fix=fix)
        made = self._made(name)
        request = self.generation.request(generation)
        begun = made.spec()
        if begun is not None and source != TYPED:  # its own prompts; the set may have changed since
            wanted = begun[1].prompts
        else:
            wanted = self._prompts(source, prompts or "", int(count), int(seed))
        spec = PictureSpec(wanted, int(count), request, int(seed), (loras or "").strip(), (before or "").strip(),
                           (trigger or "").strip())  # fmt: skip
        made.generate(checkpoint, spec, self.session.editor.folders if self.session.editor else ())
        return [NO_MESSAGE, self._gallery(made)]

    @looks
    def fill(self, name: str | None) -> list[Any]:
        """The settings of a drawing that was begun, so that it can be gone on with."""
        made = self._made(name)
        begun = made.spec()
        if begun is None:
            return [NO_MESSAGE, "", *[gr.update()] * (7 + len(self.generation.components))]
        model, spec = begun
        fields = [spec.count, spec.seed, spec.loras, spec.trigger, spec.before, "\n".join(spec.prompts)]
        return [NO_MESSAGE, self._gallery(made), model, *fields, *self.generation.values(spec.settings)]

    @changes
    def do_cancel(self, name: str | None) -> str:
        """Stop drawing; what is there stays."""
        job = self._job(self._made(name))
        if job is not None and not job.ended:
            self._workbench.queue.stop(job.id)
        return ""

    @changes
    def do_answer(self, name: str | None, clicked: str) -> list[Any]:
        """A click: ``keep:0001|time``, ``leave:0001|time`` or ``undo|time``."""
        verb, _, picture = (clicked or "").rpartition("|")[0].partition(":")
        made = self._made(name)
        if verb == UNDO:
            made.undo()
        elif verb in (KEEP, LEAVE):
            made.answer(picture, verb == KEEP)
        return [NO_MESSAGE, self._gallery(made)]

    @changes
    def do_take(self, name: str | None, folder: str) -> str:
        """Dry run: the kept pictures with their captions into a folder of the open set."""
        made, root = self._made(name), self.session.opened().folders[0]
        change = made.plan(root, (folder or "").strip() or usual_folder(root, made.name))
        return html.message(self.session.propose(change))

    # -- what is shown ------------------------------------------------------------------------------------------------

    @looks
    def now(self, name: str | None) -> list[Any]:
        """Updates of pictures, facts and buttons."""
        try:
            made = self._made(name)
        except UserError as error:
            return [html.error_message(error), "", gr.update(interactive=False), gr.update(interactive=False)]
        job = self._job(made)
        kept = any(drawn.kept for drawn in made.pictures())
        busy = job is not None and not job.ended
        bar = progress(job, cancelled=STOPPED)
        return [bar, self._gallery(made), gr.update(interactive=busy), gr.update(interactive=kept)]

    @looks
    def newest_drawing(self) -> Any:
        """What a page that has just been opened goes on with."""
        found = drawings(self._workbench)
        return gr.update(choices=found, value=found[0]) if found else gr.update()

    @looks
    def now_names(self, name: str | None) -> list[Any]:
        """The drawings there are, the newest first."""
        return [gr.update(choices=list(dict.fromkeys([*drawings(self._workbench), *([name] if name else [])])))]

    def _gallery(self, made: MadePictures) -> str:
        """The next picture that nobody has looked at, large, above all of them."""
        pictures = made.pictures()
        if not pictures:
            return ""
        open_ = [drawn for drawn in pictures if drawn.kept is None and not drawn.aside]
        kept = sum(drawn.kept is True for drawn in pictures)
        aside = sum(drawn.kept is None and bool(drawn.aside) for drawn in pictures)
        facts = [f"{kept} kept", f"{len(open_)} to look at", *([f"{aside} set aside"] if aside else [])]
        undo = html.pick_button("Undo", ANSWER, UNDO) if any(d.kept is not None for d in pictures) else ""
        here = pictures.index(open_[0]) if open_ else len(pictures)
        start = max(0, min(here - SHOWN // 2, len(pictures) - SHOWN))
        figures = "".join(self._small(drawn) for drawn in pictures[start : start + SHOWN])
        first = self._large(open_[0]) if open_ else ""
        return (
            f'<div class="lw-made"><p class="lw-quiet">{" · ".join(facts)} {undo}</p>{first}'
            f'<div class="lw-strip">{figures}</div></div>'
        )

    def _large(self, drawn: Drawn) -> str:
        buttons = "".join(
            f'<button type="button" class="lw-pick" data-lw-into="{ANSWER}" data-lw-pick="{verb}:{drawn.name}" '
            f'data-lw-key="{key.lower()}">{text} <kbd>{key}</kbd></button>'
            for verb, key, text in KEYS
        )
        url = self.album.files.url(drawn.path)
        return (
            f'<figure class="lw-made-now"><img src="{url}" alt="{escape(drawn.name)}" {html.ZOOMS}>'
            f"<figcaption>{buttons}</figcaption></figure>"
        )

    def _small(self, drawn: Drawn) -> str:
        """A thumbnail; a click turns its answer round."""
        mark = {True: "lw-ds-kept", False: "lw-ds-rejected"}.get(drawn.kept, "lw-ds-rejected" if drawn.aside else "")
        told = {True: "kept", False: "left"}.get(drawn.kept, drawn.aside or "not looked at")
        verb = LEAVE if drawn.kept else KEEP
        return (
            f'<button type="button" class="lw-thumb {mark}" data-lw-into="{ANSWER}" '
            f'data-lw-pick="{verb}:{drawn.name}" title="{escape(told)}">'
            f'<img src="{self.album.files.url(drawn.path)}" alt="{escape(drawn.name)}" loading="lazy">'
            f"<span>{escape(told)}</span></button>"
        )

    # -- small parts --------------------------------------------------------------------------------------------------

    @property
    def _workbench(self) -> Workbench:
        return self._desk.workbench

    def _made(self, name: str | None) -> MadePictures:
        return MadePictures(self._workbench, (name or "").strip())

    def _prompts(self, source: str, typed: str, count: int, seed: int) -> tuple[str, ...]:
        if source == TYPED:
            return tuple(map(as_caption, lines(typed, where="Prompts to draw")))
        chosen = self.session.chosen()
        if source == CAPTIONS:
            return from_captions([_caption(picture) for picture in chosen], count, seed)
        return from_tags([picture.tags for picture in chosen], count, seed)

    def _job(self, made: MadePictures) -> JobView | None:
        return newest([job for job in of_type(self._workbench.queue, FolderView) if job.folder == made.folder])


def _caption(picture: Picture) -> str:
    start, end = first_line(picture.text)
    return picture.text[start:end]
