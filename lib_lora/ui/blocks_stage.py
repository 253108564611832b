"""The picture beside the sliders: the LoRA with the weights of now, and without them while a key is held.

A state is a text of weights with the request that it is drawn for. Its picture has a name made from both, so that a
state that was drawn once is never drawn again, and *without* is simply the state that one compares with.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import sha256
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from lib_lora.access import changes
from lib_lora.errors import UserError
from lib_lora.jobs.blocks_jobs import BlocksPictureJob
from lib_lora.jobs.views import JobView
from lib_lora.models.base import GenerationRequest
from lib_lora.ui import html
from lib_lora.ui.actions import act, panel
from lib_lora.ui.blocks_desk import BlocksDesk
from lib_lora.ui.compat import SKIP, listen
from lib_lora.ui.files import Pictures
from lib_lora.ui.generation import GenerationFields
from lib_lora.ui.job_view import newest, of_kind, progress
from lib_lora.ui.poll import Poller
from lib_lora.workbench import LoraEntry

EMPTY = "Draw a picture once: from then on it follows the sliders."
BACK = "lw_blocks_back"  # the hidden field that a click on an earlier state writes into
STATES = 12  # in the strip
DRAFT = 8  # sampling steps of a draft; a picture of fewer steps is drawn at once


@dataclass(frozen=True)
class Look:
    """What a LoRA is drawn with, whatever the weights."""

    request: GenerationRequest
    scale: float


@dataclass(frozen=True)
class _Places:
    """Where the pictures of one LoRA's states are, whether they were drawn or not."""

    folder: Path
    drawn_with: str  # file, its date, weight and model

    def of(self, text: str, request: GenerationRequest) -> Path:
        state = f"{self.drawn_with} {text} {request}"
        return self.folder / f"{sha256(state.encode()).hexdigest()[:24]}.png"


class Stage:
    """Draws on request, and from then on whenever the weights change: a draft first, the whole picture after it."""

    def __init__(self, desk: BlocksDesk, pictures: Pictures):
        self.desk = desk
        self.pictures = pictures
        self.generation = GenerationFields("Block preview", "lw_blocks")
        self.looks: dict[str, Look] = {}
        self.states: dict[str, list[str]] = {}  # LoRA -> weights that were drawn, newest last

    # -- components ---------------------------------------------------------------------------------------------------

    def build(self) -> None:
        """Pictures before and after, progress, and hidden fields that clicks write into."""
        self.result = panel("lw_blocks_result", html.hint(EMPTY))
        self.progress = panel("lw_blocks_progress")
        self.message = panel("lw_blocks_preview_message")
        self.back = gr.Textbox("", label="Earlier state", elem_id=BACK, elem_classes=["lw-hidden"])
        with gr.Row(elem_classes=["lw-fields"]):
            self.prompt = gr.Textbox("", label="Preview prompt", elem_id="lw_blocks_prompt", scale=4)
            self.seed = gr.Number(1, precision=0, label="Preview seed", elem_id="lw_blocks_seed", scale=1, min_width=90)
        with gr.Row(elem_classes=["lw-actions", "lw-small"]):
            self.draw = gr.Button("Preview", variant="primary", elem_id="lw_blocks_preview", size="sm")
            self.cancel = gr.Button("Cancel preview", elem_id="lw_blocks_cancel", size="sm", interactive=False)
            self.keep = gr.Button("Compare with these weights", elem_id="lw_blocks_keep", size="sm")
        self.follow = gr.Checkbox(
            True,
            label="Redraw when a slider is released",
            elem_id="lw_blocks_follow",
            elem_classes=["lw-line"],
            container=False,
        )
        self.generation.build(self.desk.workbench.host)

    @property
    def fields(self) -> list[Any]:
        """What :meth:`filled` fills."""
        return [self.prompt, *self.generation.components]

    def filled(self, entry: LoraEntry) -> list[Any]:
        """Prompt, size and clip skip that suit a LoRA."""
        return [entry.metadata.get("modelspec.trigger_phrase") or SKIP, *self.generation.trained_at(entry.metadata)]

    # -- events -------------------------------------------------------------------------------------------------------

    def connect(self, poller: Poller, lora: Any, scale: Any, typed: Any, returned: Callable[[Any, Any], None]) -> None:
        """Connect them.

        Args:
            typed: the weights as text.
            returned: connects the event of going back to an earlier state, which stands in a field.
        """
        shown = [self.progress, self.cancel, self.result]
        self._wanted = [lora, scale, self.prompt, self.seed, *self.generation.components]
        self._drawn = shown
        act(self.draw.click, self.start, [typed, *self._wanted], self.message, shown)
        act(self.cancel.click, self.end, [lora], self.message, shown)
        act(self.keep.click, self.keep_weights, [lora], self.message, shown)
        returned(self.back.change, self.back)
        poller.keep(self.now, shown, [lora])

    def follows(self, event: Any) -> None:
        """Draw anew after ``event``, a dependency that may have changed the weights."""
        listen(event.then, self.redraw, [self.follow, *self._wanted], self._drawn)

    @changes
    def start(
        self, typed: str, name: str, scale: float | None, prompt: str, seed: float | None, *generation: Any
    ) -> list[Any]:
        """Draw the weights of now, with the prompt and settings of now; not earlier ones where they cannot be read."""
        if seed is None:
            raise UserError("The seed is empty", where="Preview seed", fix="Type a whole number")
        self.desk.entry(name)
        self.desk.parsed(name, typed)
        self.looks[name] = Look(self.generation.request(generation, prompt, int(seed)), weight_of_lora(scale))
        self._queue(name, drafts=False)
        return ["", *self.now(name)]

    @changes
    def redraw(self, follow: bool, name: str | None, scale: float | None, *_: Any) -> list[Any]:
        """Draw the weights of now as the last picture was drawn, if there was one; not while something else is running:
        the picture would come when nobody thinks of it any more."""
        look = self.looks.get(name or "")
        if not name or look is None or scale is None:
            return [SKIP] * len(self._drawn)
        self.looks[name] = replace(look, scale=float(scale))
        if follow and not self._others():
            self._queue(name, drafts=True)
        return self.now(name)

    @changes
    def end(self, name: str | None) -> list[Any]:
        """Cancel the pictures that are still to be drawn."""
        self._cancel()
        return ["", *self.now(name)]

    @changes
    def keep_weights(self, name: str) -> list[Any]:
        """From now on compare with the weights as they stand."""
        self.desk.entry(name)
        self.desk.keep(name)
        return [html.message(f"Pictures are now compared with {self.desk.kept(name)}."), *self.now(name)]

    # -- what is shown ------------------------------------------------------------------------------------------------

    def now(self, name: str | None) -> list[Any]:
        """Progress, whether it can be cancelled, and the picture with the strip of earlier states."""
        job = newest(self._jobs())
        busy = job is not None and not job.ended
        return [progress(job), gr.update(interactive=busy), self._shown(name, busy) or html.hint(EMPTY)]

    def _shown(self, name: str | None, busy: bool) -> str:
        look = self.looks.get(name or "")
        if not name or look is None:
            return ""
        text, path = self.desk.text(name), self._places(name).of
        stale, steps, picture = "", look.request.steps, path(text, look.request)
        draft = path(text, _draft(look.request))
        if not picture.exists() and draft.exists():
            steps, picture = DRAFT, draft
        drawn = [state for state in self.states.get(name, []) if path(state, look.request).exists()]
        if not picture.exists():
            if not drawn:
                return ""
            picture, stale = path(drawn[-1], look.request), " lw-stale"
        note = f"{'draft, ' if steps < look.request.steps else ''}{html.plural(steps, 'step')}"
        if stale:
            note = "of earlier weights" + (", the new ones are being drawn" if busy else "")
        against = path(self._against(name), look.request)
        hold = '<button type="button" class="lw-hold" data-lw-hold title="Or hold the key B">Hold to compare</button>'
        other = f'<img class="lw-without" src="{self.pictures.url(against)}" alt="{escape(self._other(name))}">'
        compare = against.exists() and not stale
        return (
            f'<figure class="lw-stage{stale}"><div class="lw-frame">'
            f'<img class="lw-after" src="{self.pictures.url(picture)}" alt="{escape(name)} with block weights" '
            f"{html.ZOOMS}>{other if compare else ''}"
            f'<span class="lw-badge lw-held">{escape(self._other(name))}</span></div>'
            f"<figcaption><b>{escape(name)}</b> <span>{escape(note)}</span>{hold if compare else ''}</figcaption>"
            f"</figure>{self._strip([(state, path(state, look.request)) for state in drawn], text)}"
        )

    def _strip(self, drawn: list[tuple[str, Path]], text: str) -> str:
        """The last states that were drawn; a click goes back to one."""
        if len(drawn) < 2:
            return ""
        shown = "".join(
            f'<button type="button" class="lw-state{" lw-chosen" if state == text else ""}" data-lw-into="{BACK}" '
            f'data-lw-pick="{escape(state)}" title="{escape(state)}" aria-label="Back to {escape(state)}">'
            f'<img src="{self.pictures.url(picture)}" alt=""></button>'
            for state, picture in drawn[-STATES:]
        )
        return f'<div class="lw-film" role="group" aria-label="Earlier states">{shown}</div>'

    # -- small parts --------------------------------------------------------------------------------------------------

    def _queue(self, name: str, *, drafts: bool) -> None:
        """Ask for what is missing: the weights of now, and what they are compared with."""
        self._cancel()
        look, text, queue = self.looks[name], self.desk.text(name), self.desk.workbench.queue
        path = self._places(name).of
        states = self.states.setdefault(name, [self._against(name)])
        self.states[name] = [*(state for state in states if state != text), text][-2 * STATES :]
        draft = _draft(look.request)
        quick = [(draft, [text])] if drafts and draft != look.request else []
        for request, texts in [*quick, (look.request, list(dict.fromkeys([self._against(name), text])))]:
            paths = {state: path(state, request) for state in texts}
            missing = [(self.desk.parsed(name, state), path) for state, path in paths.items() if not path.exists()]
            if path(text, look.request).exists() and request != look.request:
                continue
            if missing:
                queue.submit(BlocksPictureJob(queue, self.desk.entry(name).path, missing, request, look.scale))

    def _cancel(self) -> None:
        for job in self._jobs():
            if not job.ended:
                self.desk.workbench.queue.cancel(job.id)

    def _places(self, name: str) -> _Places:
        bench, path = self.desk.workbench, self.desk.entry(name).path
        made_of = (path, path.stat().st_mtime_ns, self.looks[name].scale, bench.host.info())
        return _Places(bench.host.paths.places.block_previews, repr(made_of))

    def _against(self, name: str) -> str:
        """The weights that pictures are compared with: those kept, else all blocks at 1."""
        return self.desk.kept(name) or self.desk.tidy(name, "1," * (len(self.desk.shape(name).layout) - 1) + "1")

    def _other(self, name: str) -> str:
        return "the weights that were kept" if self.desk.kept(name) else "without block weights"

    def _jobs(self) -> list[JobView]:
        return of_kind(self.desk.workbench.queue, BlocksPictureJob.kind)

    def _others(self) -> bool:
        """Whether other work is running or waits."""
        return any(not job.ended and job.kind != BlocksPictureJob.kind for job in self.desk.workbench.queue.jobs())


def _draft(request: GenerationRequest) -> GenerationRequest:
    return replace(request, steps=min(DRAFT, request.steps))


def weight_of_lora(value: float | None) -> float:
    """The weight of the whole LoRA.

    Raises:
        UserError: the field is empty.
    """
    if value is None:
        raise UserError("The weight is empty", where="LoRA weight", fix="1 is the LoRA as it is")
    return float(value)
