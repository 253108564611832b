"""Tune by taste: two sides drawn from the same noise, a click on the better one, and block weights that come of it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from html import escape
from typing import Any

import gradio as gr

from lib_lora.access import changes, looks
from lib_lora.errors import UserError
from lib_lora.jobs.taste_jobs import TasteJob, Wanted
from lib_lora.jobs.views import JobView
from lib_lora.tools.taste.preference import EQUAL, FIRST, SECOND
from lib_lora.tools.taste.proposals import Best
from lib_lora.tools.taste.recipe import Recipe
from lib_lora.tools.taste.session import ANSWERS, TasteSession
from lib_lora.tools.taste.space import SUBTRACTED, WHOLE, Tuned
from lib_lora.ui import html
from lib_lora.ui.actions import act, panel
from lib_lora.ui.blocks_desk import BlocksDesk
from lib_lora.ui.blocks_stage import Stage, weight_of_lora
from lib_lora.ui.choices import choices, lora_names
from lib_lora.ui.files import Pictures
from lib_lora.ui.job_view import newest, of_kind, progress
from lib_lora.ui.merge_formula import FormulaPanel
from lib_lora.ui.merge_rows import with_row
from lib_lora.ui.poll import Poller
from lib_lora.ui.values import lines, whole_numbers
from lib_lora.workbench.taste import TasteTuning

ANSWER = "lw_taste_answer"  # the hidden field that a click on an answer writes into
DRAW = "draw"
NONE = "nothing"
INTRO = (
    "Two sides, drawn from the same noise: say which is better, about two dozen times, and the weights follow your "
    "taste. Starts from the weights and the LoRA weight of now, with the size and steps of the preview."
)
ANSWERS_SHOWN = ((FIRST, "1", "Left is better"), (EQUAL, "0", "No difference"), (SECOND, "2", "Right is better"))
SURE = 0.9


class TastePanel:
    """Asks, draws ahead, and says what is best by now; every answer is on disk at once."""

    def __init__(self, desk: BlocksDesk, pictures: Pictures, preview: Stage):
        self.desk = desk
        self.pictures = pictures
        self.preview = preview
        self.loras = lora_names(desk.workbench)

    # -- components ---------------------------------------------------------------------------------------------------

    def build(self) -> None:
        """The questions, the best by now, and the settings of a new tuning."""
        with gr.Accordion("Tune by taste", open=False, elem_id="lw_taste"):
            gr.HTML(f'<p class="lw-quiet">{INTRO}</p>', elem_classes=["lw-html"])
            self.answer_field = gr.Textbox("", label="Answer", elem_id=ANSWER, elem_classes=["lw-hidden"])
            self.question = panel("lw_taste_question")
            self.progress = panel("lw_taste_progress")
            self.message = panel("lw_taste_message")
            with gr.Row(elem_classes=["lw-actions"]):
                self.start = gr.Button("Start tuning", elem_id="lw_taste_start", size="sm")
                self.undo, self.take, self.merge = (
                    gr.Button(text, elem_id=f"lw_taste_{key}", size="sm", interactive=False)
                    for key, text in (
                        ("undo", "Undo last answer"),
                        ("take", "Use the best weights"),
                        ("merge", "Use the best in Merge →"),
                    )
                )
            with gr.Row(elem_classes=["lw-fields"]):
                self.prompts = gr.Textbox(
                    "",
                    label="Prompts to compare with",
                    info="one a line, taken in turn; empty: the preview's",
                    lines=2,
                    elem_id="lw_taste_prompts",
                    scale=3,
                )
                self.seeds = gr.Textbox(
                    "1, 2, 3, 4", label="Seeds to compare with", info="taken in turn", elem_id="lw_taste_seeds"
                )
                self.count = gr.Dropdown(
                    choices=["1", "2", "4"],
                    value="4",  # 9 of 10 tunings found the best with it; with 2 it was 3 of 6
                    label="Pictures on each side",
                    info="4 are surest, 1 is quickest",
                    elem_id="lw_taste_count",
                    interactive=True,
                )
            with gr.Row(elem_classes=["lw-fields"]):
                self.base = gr.Dropdown(
                    choices=[NONE, *self.loras()],
                    value=NONE,
                    label="Subtract while tuning",
                    info="the base-style LoRA",
                    elem_id="lw_taste_base",
                    interactive=True,
                    allow_custom_value=True,
                )
                self.base_blocks = gr.Textbox(
                    "GP2", label="Its block weights", info="how strongly is tuned too", elem_id="lw_taste_base_blocks"
                )
                self.locked = gr.Textbox(
                    "", label="Locked blocks", info="such as BASE IN01-IN02; they stay", elem_id="lw_taste_locked"
                )
                self.whole = gr.Checkbox(True, label="Tune the LoRA weight too", elem_id="lw_taste_whole")

    def connect(
        self,
        poller: Poller,
        lora: Any,
        scale: Any,
        now: Callable[[Any, Any], list[Any]],
        outputs: list[Any],
        changed: Callable[[Any], None],
        to_merge: tuple[FormulaPanel, Any, Any],
    ) -> None:
        """``now`` gives the values of ``outputs``, what the tab shows of its weights; ``to_merge`` has the merge tab's
        formula, the row of tabs and Merge's own."""
        shown = [self.question, self.progress, self.undo, self.take, self.merge]
        settings = [self.prompts, self.seeds, self.count, self.base, self.base_blocks, self.locked, self.whole]
        drawn = [self.preview.prompt, *self.preview.generation.components]
        act(self.start.click, self.begin, [lora, scale, *settings, *drawn], self.message, shown)
        act(self.answer_field.change, self.answered, [lora, self.answer_field], self.message, shown)
        act(self.undo.click, self.take_back, [lora], self.message, shown)
        changed(act(self.take.click, partial(self.take_over, now), [lora], self.message, [scale, *outputs]))
        self.other, tabs, ways = to_merge
        there = [self.other.formula, self.other.shown]
        filled = [tabs, ways, self.other.formula, *self.other.filled]
        act(self.merge.click, self.use_in_merge, [lora, *there], self.message, filled)
        poller.keep(self.now, shown, [lora])
        poller.keep(self.now_choices, [self.base], [self.base])

    # -- what the user does -------------------------------------------------------------------------------------------

    @changes
    def begin(
        self, name: str, scale: float | None, prompts: str, seeds: str, count: str, base: str, base_blocks: str,
        locked: str, whole: bool, prompt: str, *generation: Any,
    ) -> list[Any]:  # fmt: skip
        """Start, or start anew: the session before stays on disk."""
        blocks, family = self.desk.text(self.desk.entry(name).name), self.desk.shape(name).family
        subtracts = bool(base) and base != NONE
        if subtracts and family.guide and set(self.desk.weights(name).values()) == {1}:
            blocks = self.desk.tidy(name, "GP1")  # what the guide keeps of a style whose base style is subtracted
        recipe = Recipe(
            name,
            weight_of_lora(scale),
            blocks,
            base if subtracts else "",
            base_blocks if subtracts else "",
            locked,
            whole,
            tuple(lines(prompts.strip() or prompt, where="Prompts to compare with")),
            tuple(whole_numbers(seeds, where="Seeds to compare with")),
            int(count),
            self.preview.generation.request(generation, prompt),
        )
        self._tuning(name).start(recipe)
        return ["", *self.now(name)]

    @changes
    def answered(self, name: str | None, answer: str) -> list[Any]:
        """``1:7|time``: the first of question 7; or ``draw``."""
        better, _, number = answer.partition("|")[0].partition(":")
        tuning = self._tuning(name)
        if better == DRAW:
            tuning.go_on()
        else:
            tuning.answer(int(number), int(better))
        return ["", *self.now(name)]

    @changes
    def take_back(self, name: str | None) -> list[Any]:
        """Ask the last question again."""
        self._tuning(name).undo()
        return ["", *self.now(name)]

    @changes
    def take_over(self, now: Callable[[Any, Any], list[Any]], name: str | None) -> list[Any]:
        """Make the best the weights that count; a step that can be undone."""
        (lora, weight, blocks), *subtracted = self._best(name)
        self.desk.set(lora, blocks.format(self.desk.shape(lora).layout))
        text = "Taken over. Undo beside the weights takes the blocks back; Save as LoRA writes them."
        if subtracted:
            text = "Taken over, without what is subtracted: Use the best in Merge takes both."
        return [html.message(text, html.GOOD), weight, *now(lora, weight)]

    @looks
    def use_in_merge(self, name: str | None, formula: str, shown: int) -> list[Any]:
        """All LoRAs of the best as terms of the formula, in view."""
        for lora, weight, blocks in self._best(name):
            layout = self.desk.shape(lora).layout
            formula = with_row(formula, (lora, weight, blocks.format(layout)))
        message, *cells = self.other.fill_rows(formula, shown)
        return [message, gr.update(selected="merge"), gr.update(selected="formula"), formula, *cells]

    # -- what is shown ------------------------------------------------------------------------------------------------

    @looks
    def now_choices(self, base: str | None) -> list[Any]:
        """The LoRAs that may be subtracted."""
        return [choices([NONE, *self.loras()], base)]

    def now(self, name: str | None) -> list[Any]:
        """The question, progress, and what can be clicked."""
        session, fault = self._session(name)
        if name is None or session is None:
            off = gr.update(interactive=False)
            return [html.error_message(fault) if fault else "", "", off, off, off]
        tuning, some = self._tuning(name), session.answered > 0
        job = newest(self._jobs(tuning))
        can = gr.update(interactive=some)
        busy = job is not None and not job.ended
        return [self._shown(tuning, session, busy), progress(job, cancels=True), can, can, can]

    def _shown(self, tuning: TasteTuning, session: TasteSession, busy: bool) -> str:
        try:
            sides = tuning.pictures(session, session.answered) if session.current() else None
            tuned = tuning.tuned(session.recipe)
        except UserError as error:
            return html.error_message(error)
        told = _told(session, tuned, session.best())
        if sides is None:
            return told
        ready = all(wanted.path.exists() for side in sides for wanted in side)
        figures = "".join(self._side(side, title) for side, title in zip(sides, ("Left", "Right"), strict=True))
        buttons = "".join(_button(better, key, text, session.answered, ready) for better, key, text in ANSWERS_SHOWN)
        state = "" if ready else "Its pictures are being drawn" if busy else "Its pictures are missing"
        again = "" if ready or busy else html.pick_button("Draw them", ANSWER, DRAW)  # after a restart or a cancel
        prompt = escape(sides[0][0].request.prompt)
        return (
            f'<div class="lw-taste"><p><b>Question {session.answered + 1}</b> <code>{prompt}</code> '
            f'<span class="lw-quiet">{state}</span> {again}</p>'
            f'<div class="lw-taste-sides">{figures}</div><div class="lw-taste-answers">{buttons}</div>{told}</div>'
        )

    def _side(self, side: list[Wanted], title: str) -> str:
        images = "".join(
            f'<img src="{self.pictures.url(wanted.path)}" alt="{title}, seed {wanted.request.seed}" {html.ZOOMS}>'
            if wanted.path.exists()
            else '<span class="lw-taste-missing" role="img" aria-label="not drawn yet"></span>'
            for wanted in side
        )
        return f'<figure class="lw-taste-side" data-count="{len(side)}">{images}</figure>'

    # -- small parts --------------------------------------------------------------------------------------------------

    def _tuning(self, name: str | None) -> TasteTuning:
        return TasteTuning(self.desk.workbench, self.desk.entry(name).name)

    def _session(self, name: str | None) -> tuple[TasteSession | None, UserError | None]:
        try:
            return (self._tuning(name).session() if name else None), None
        except UserError as error:
            return None, error

    def _best(self, name: str | None) -> list[tuple[str, float, Any]]:
        """Name, weight and block weights of each LoRA of the best settings."""
        tuning = self._tuning(name)
        session = tuning.session()
        if session is None or not session.answered:
            raise UserError("Nothing was answered yet", where="Tune by taste", fix="Say which picture is better")
        return tuning.tuned(session.recipe).terms(session.best().point)

    def _jobs(self, tuning: TasteTuning) -> list[JobView]:
        title = TasteJob.title_of(tuning.name)
        return [job for job in of_kind(self.desk.workbench.queue, TasteJob.kind) if job.title == title]


def _button(better: int, key: str, text: str, number: int, ready: bool) -> str:
    disabled = "" if ready else " disabled"
    return (
        f'<button type="button" class="lw-pick" data-lw-into="{ANSWER}" data-lw-pick="{better}:{number}" '
        f'data-lw-key="{key}" title="{text} (key {key})"{disabled}>{text} <kbd>{key}</kbd></button>'
    )


def _told(session: TasteSession, tuned: Tuned, found: Best) -> str:
    """How far it is, what is best by now, and how sure that is."""
    count = html.plural(session.answered, "answer")
    if not session.answered:
        return f'<p class="lw-quiet">{count}. About {ANSWERS} are usually enough.</p>'
    changes = []
    for dimension, place in zip(tuned.dimensions(), found.point, strict=True):
        value = dimension.value(place)
        if round(value, 2) != round(dimension.start, 2):
            times = "" if dimension.name == WHOLE else "×"
            name = f"{session.recipe.base} subtracted" if dimension.name == SUBTRACTED else dimension.name
            changes.append(f"{name} {times}{value:.2f}")
    sure = f"{found.chance:.0%} sure that it is better than where you started"
    enough = session.answered >= ANSWERS or found.chance >= SURE
    more = "Take it, or go on." if enough else f"About {max(1, ANSWERS - session.answered)} more make it surer."
    return (
        f'<p class="lw-quiet">{count}. Best by now: {escape(", ".join(changes) or "where you started")}; {sure}. '
        f"{more}</p>"
    )
