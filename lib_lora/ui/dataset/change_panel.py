"""The dry run of whatever was chosen, the button that does it, and the one that takes it back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

from lib_lora.access import changes
from lib_lora.dataset.collection.change import Make, Move
from lib_lora.ui import html
from lib_lora.ui.actions import panel
from lib_lora.ui.dataset.caption_panel import CaptionPanel
from lib_lora.ui.dataset.pages import Connector
from lib_lora.ui.dataset.panel import Panel, View
from lib_lora.ui.dataset.plan_pictures import PlanPictures
from lib_lora.ui.dataset.session import Session
from lib_lora.ui.dataset.views import Album, change_view, history_view
from lib_lora.ui.job_view import progress

SHOWN_PICTURES = 6
CANCELLED = "Cancelled; a change that was begun is taken back."


class ChangePanel(Panel):
    """Stands above the tools, the same for all of them."""

    def __init__(self, session: Session, album: Album, caption: CaptionPanel):
        super().__init__(session, album)
        self.caption = caption
        self.plan = PlanPictures(album)

    def build(self) -> None:
        """The dry run with its buttons, and the history."""
        self.dry_run = panel("lw_ds_change")
        with gr.Row(elem_classes=["lw-actions"], visible=False) as self.buttons:
            self.apply = gr.Button("Apply", variant="primary", elem_id="lw_ds_apply")
            self.discard = gr.Button("Discard", elem_id="lw_ds_discard")
        self.progress = panel("lw_ds_progress")
        self.message = panel("lw_ds_applied")
        with gr.Row(elem_classes=["lw-actions"]):
            self.undo = gr.Button("Undo", elem_id="lw_ds_undo", interactive=False, size="sm")

    def build_history(self) -> None:
        """Below the tools."""
        with gr.Accordion("History", open=False, elem_id="lw_ds_history"):
            self.history = panel("lw_ds_history_list")

    def connect(self, on: Connector) -> None:
        """Apply, discard and undo; each keeps the caption that is being typed."""
        caption = self.caption.field
        on(self.apply.click, self.do_apply, caption, self.message, caption, busy="Applying …")
        on(self.discard.click, self.do_discard, [], self.message)
        on(self.undo.click, self.do_undo, caption, self.message, caption, busy="Taking back …")

    @changes
    def do_apply(self, caption: str, base: str) -> list[str]:
        """Carry out what the dry run says; as a job where pictures have to be made."""
        self.caption.keep(caption, base)
        title = self.session.pending.title if self.session.pending else ""
        begun = self.session.apply()  # its progress stands above
        text = html.message(f"Done: {title}. “Undo” takes it back.", html.GOOD) if begun is None else ""
        return [text, *self.caption.shown()]

    @changes
    def do_discard(self) -> str:
        """Forget the dry run."""
        self.session.pending = None
        self.session.touch()
        return ""

    @changes
    def do_undo(self, caption: str, base: str) -> list[str]:
        """Take the last change of the set back."""
        self.caption.keep(caption, base)
        return [html.message(f"Taken back: {self.session.undo()}.", html.GOOD), *self.caption.shown()]

    def views(self) -> list[View]:
        """What follows the dry run and the history."""
        return [
            (self.dry_run, self._dry_run),
            (self.buttons, lambda: gr.update(visible=bool(self.session.pending))),
            (self.history, lambda: history_view(self.session.editor.history()) if self.session.editor else ""),
            (self.undo, self._undo),
        ]

    def _dry_run(self) -> str:
        """What is planned, with the pictures that it moves."""
        change = self.session.pending
        if change is None:
            return ""
        targets = {one.source: one.target for one in change.operations if isinstance(one, Move)}
        made = {one.path for one in change.operations if isinstance(one, Make)}  # others take the place of these
        moved = [one for one in self.session.opened().pictures if one.path in targets and one.path not in made]
        shown = moved[:SHOWN_PICTURES]
        goes = [f"{picture.path.stem} → {_place(targets[picture.path], picture.path)}" for picture in shown]
        more = f'<span class="lw-quiet">and {len(moved) - len(shown)} more</span>' if len(moved) > len(shown) else ""
        figures = f'<div class="lw-ds-plan">{self.album.figures(shown, "select", goes)}{more}</div>' if shown else ""
        return change_view(change, self.plan.draw(change, self.session.opened().pictures) + figures)

    def live(self) -> list[Any]:
        """Progress of the newest job, with a button that cancels it."""
        return [progress(self.session.job(), cancels=True, cancelled=CANCELLED)]

    def _undo(self) -> Any:
        entries = self.session.editor.history() if self.session.editor else []
        last = next((entry for entry in reversed(entries) if entry.state == "done"), None)
        return gr.update(value=f"Undo: {last.title}" if last else "Undo", interactive=last is not None)


def _place(target: Path, source: Path) -> str:
    """Where a file goes: the other folder, or its new name."""
    return f"{target.parent.name}/" if target.parent != source.parent else target.name
