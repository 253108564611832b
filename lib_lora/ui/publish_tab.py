"""Publish: look at a LoRA file, choose its pictures, and make a folder or zip that others can take."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr

from lib_lora.access import changes, guarded, looks
from lib_lora.errors import UserError
from lib_lora.names import base_of
from lib_lora.tools.card_files import PREVIEWS, data_url, preview_of, read_card, thumbnail
from lib_lora.tools.examples import USUAL, Example, Examples, examples_of
from lib_lora.tools.model_card import LICENCES, CardText
from lib_lora.tools.publish import MOST_PICTURES, Publication, publish
from lib_lora.ui import html
from lib_lora.ui import inspect_view as view
from lib_lora.ui.actions import NO_MESSAGE, act, panel
from lib_lora.ui.choices import choices, lora_names
from lib_lora.ui.compat import SKIP
from lib_lora.ui.dataset.uploads import Uploads
from lib_lora.ui.files import Pictures
from lib_lora.ui.inspector import Inspector
from lib_lora.ui.poll import Poller
from lib_lora.ui.publish_brought import Brought, named_by_path
from lib_lora.workbench import Workbench

EMPTY = "Choose a LoRA: what is in it is shown here, and the pictures that its run and its grid have of it."
NO_PICTURES = "There are no pictures of this LoRA yet. Make an epoch grid of it, or train with sample prompts."
FOLDER, ZIP = "a folder", "one zip file"
NO_LORAS = "There is no LoRA yet. Train one, or put someone's into the LoRA folder to see what is in it."
PICK = "lw_publish_pick"
OPEN = "lw_publish_open"  # the hidden field that a click on a card of the library writes into
THUMBNAIL = 384  # pixels
COVER = "cover:"  # before the name of a picture: make it the first
DROP_LINE = (
    '<div class="lw-drop"><span class="lw-quiet">Drop any LoRA file here to look into it, or your own pictures of one:'
    '</span> <button type="button" class="lw-link" data-lw-upload="files">choose files …</button></div>'
    '<div class="lw-drop-said" role="status"></div>'
)


class PublishTab:
    """The form at the left; the file and its pictures at the right.

    Args:
        uploads: takes LoRA files and pictures that are dropped; None where there are no uploads.
    """

    def __init__(self, workbench: Workbench, pictures: Pictures, uploads: Uploads | None = None):
        self.workbench = workbench
        self.brought = Brought(workbench, uploads)
        self.pictures = pictures
        self.loras = lora_names(workbench)
        self.inspector = Inspector(workbench)
        self._thumbnails: dict[tuple[Path, int], str] = {}

    # -- components ---------------------------------------------------------------------------------------------------

    def build(self) -> None:
        """The form on the left, what others will see on the right."""
        with gr.Row(elem_classes=["lw-desk"]):
            with gr.Column(scale=4, min_width=320, elem_classes=["lw-controls"]):
                self._build_form()
            with gr.Column(scale=7, min_width=420, elem_classes=["lw-look"]):
                self.head = panel("lw_inspect_head", html.hint(EMPTY))
                self.remarks = panel("lw_inspect_remarks")
                self.gallery = panel("lw_publish_pictures")
                self.figures = panel("lw_inspect_figures")
                self.about = panel("lw_inspect_about")

    def _build_form(self) -> None:
        self.lora = gr.Dropdown(
            choices=self.loras(), value=None, label="LoRA to look at or publish", elem_id="lw_publish_lora",
            interactive=True, allow_custom_value=True, info="a name of the list, or the path of any LoRA file",
        )  # fmt: skip
        with gr.Column(elem_classes=["lw-publish-form"]):
            self._build_card()
        self.pick = gr.Textbox("", label="Picture to publish", elem_id=PICK, elem_classes=["lw-hidden"])
        self.open = gr.Textbox("", label="LoRA that was clicked", elem_id=OPEN, elem_classes=["lw-hidden"])
        self.dropped = gr.Textbox("", label="Dropped files", elem_id="lw_publish_dropped", elem_classes=["lw-hidden"])
        self.picked = gr.State([])  # names of the pictures that are published, the cover first
        if self.brought.uploads:
            panel("lw_publish_drop", DROP_LINE)
        self.message = panel("lw_publish_message")

    def _build_card(self) -> None:
        self.name = gr.Textbox("", label="Published name", elem_id="lw_publish_name", max_lines=1)
        with gr.Row(elem_classes=["lw-fields"]):
            self.trigger = gr.Textbox("", label="Trigger words", elem_id="lw_publish_trigger", scale=3)
            self.weight = gr.Number(1.0, label="Use at weight", elem_id="lw_publish_weight", scale=1, min_width=120)
        self.description = gr.Textbox(
            "", label="Description", info="what it draws, and what goes well with it", lines=3,
            elem_id="lw_publish_description",
        )  # fmt: skip
        self.licence = gr.Dropdown(
            choices=list(LICENCES.values()),
            value=LICENCES[""],
            label="Licence",
            info="without one, nobody may use it",
            elem_id="lw_publish_licence",
            interactive=True,
        )
        self.base = gr.Textbox(
            "", label="Base model on Hugging Face", info="owner/name, or empty", elem_id="lw_publish_base"
        )
        with gr.Row(elem_classes=["lw-fields"]):
            self.form = gr.Radio(choices=[FOLDER, ZIP], value=FOLDER, label="Make", elem_id="lw_publish_form")
            self.sheet = gr.Checkbox(True, label="With the grid", elem_id="lw_publish_sheet")
        with gr.Row(elem_classes=["lw-actions"]):
            self.make = gr.Button("Publish", variant="primary", elem_id="lw_publish_make")

    # -- events -------------------------------------------------------------------------------------------------------

    def connect(self, poller: Poller) -> None:
        """The form, clicks on pictures, and dropped files."""
        filled = [self.name, self.trigger, self.weight, self.description, self.picked, self.gallery]
        act(self.open.change, self.clicked, [self.open], self.message, [self.lora])
        act(self.lora.change, self.fill, [self.lora], self.message, filled)
        shown = [self.lora, self.picked, self.gallery]
        act(self.dropped.change, self.take, [self.dropped, self.lora, self.picked], self.message, shown)
        act(
            self.pick.change,
            self.toggle,
            [self.lora, self.pick, self.picked],
            self.message,
            [self.picked, self.gallery],
        )
        fields = [self.name, self.trigger, self.weight, self.description, self.licence, self.base]
        inputs = [self.lora, *fields, self.form, self.sheet, self.picked]
        act(self.make.click, self.write, inputs, self.message, busy="Writing the files …")
        poller.keep(guarded(self.now), [self.lora, self.head, self.remarks, self.figures, self.about], [self.lora])

    @looks
    def fill(self, name: str | None) -> list[Any]:
        """What the file and its card say, and the pictures that one would show."""
        if not name:
            return [NO_MESSAGE, "", "", 1.0, "", [], ""]
        path = self.brought.path(name)
        facts, card, found = self.inspector.facts(path), read_card(path), self._examples(path)
        picked = [one.path.name for one in found.pictures[: found.usual]]
        weight = 1.0 if facts.weight is None else facts.weight
        description = card.description if card else ""
        # an epoch is published under the name of its run
        own = base_of(path.stem, [lora.name for lora in self.workbench.list_loras()])
        return [NO_MESSAGE, own, facts.trigger, weight, description, picked, self._gallery(found, picked)]

    @looks
    def clicked(self, pick: str) -> list[Any]:
        """Show the LoRA whose card was clicked."""
        return [NO_MESSAGE, gr.update(choices=self.loras(), value=pick.rpartition("|")[0])]

    @looks
    def toggle(self, name: str | None, pick: str, picked: list[str]) -> list[Any]:
        """Add a picture, or take it away, or make it the cover."""
        wanted, picked = pick.rpartition("|")[0], list(picked or [])
        if wanted.startswith(COVER):
            wanted = wanted.removeprefix(COVER)
            picked = [wanted, *(name for name in picked if name != wanted)]
        elif wanted in picked:
            picked.remove(wanted)
        elif len(picked) == MOST_PICTURES:
            raise UserError(f"{MOST_PICTURES} pictures are the most", fix="Click one of the others to leave it out")
        else:
            picked.append(wanted)
        return [NO_MESSAGE, picked, self._gallery(self._examples(self.brought.path(name or "")), picked)]

    @changes
    def take(self, dropped: str, name: str | None, picked: list[str]) -> list[Any]:
        """Show a LoRA that was dropped; offer dropped pictures, and publish them."""
        shown, new = self.brought.take(dropped.rpartition("|")[0], name)
        path = self.brought.path(shown or "")
        listed = gr.update(choices=[*self.loras(), *([shown] if named_by_path(shown) else [])], value=shown)
        if shown != name:  # its change fills the rest
            return [NO_MESSAGE, listed, SKIP, SKIP]
        picked = [*(picked or []), *new][:MOST_PICTURES]
        text = html.message(f"{html.plural(len(new), 'picture')} added.", html.GOOD)
        return [text, listed, picked, self._gallery(self._examples(path), picked)]

    @changes
    def write(
        self, lora: str | None, name: str, trigger: str, weight: float | None, description: str, licence: str,
        base: str, form: str, with_sheet: bool, picked: list[str],
    ) -> str:  # fmt: skip
        """Write the folder or zip; returns where it is, in HTML."""
        if not lora:
            raise UserError("No LoRA is chosen", where="LoRA to look at or publish", fix="Choose one")
        if weight is None:
            raise UserError("The weight is empty", where="Use at weight", fix="1 is usual")
        path = self.brought.path(lora)
        found = self._examples(path)
        by_name = {one.path.name: one for one in found.pictures}
        identifier = next(key for key, label in LICENCES.items() if label == licence)
        text = CardText(name.strip(), trigger.strip(), float(weight), description, identifier, base.strip())
        pictures = [by_name[one] for one in picked or () if one in by_name]
        wanted = Publication(text, pictures, found.sheet if with_sheet else None, form == ZIP)
        made = publish(path, self.workbench.host.paths.places.published, wanted, found.run)
        undecided = "" if identifier else html.message("It has no licence yet: nobody may use it.", html.WARNING)
        return html.message(f"Published {made.name} with {html.plural(len(pictures), 'picture')}.", html.GOOD) + (
            f'<p class="lw-where">{html.escape(str(made))}</p>{undecided}'
        )

    # -- what is shown ------------------------------------------------------------------------------------------------

    @looks
    def now(self, name: str | None) -> list[Any]:
        """The list of LoRAs, and what is known of the chosen one so far."""
        names = [*self.loras(), *([name] if name and named_by_path(name) else [])]
        listed = choices(names, name, first=False)
        if not name or name not in names:
            return [listed, self._library(), "", "", ""]
        try:
            path = self.brought.path(name)
            facts, measured = self.inspector.facts(path), self.inspector.measured(path)
        except UserError as error:
            return [listed, html.error_message(error), "", "", ""]
        head = view.head(facts, self._thumbnail(path) or self._first(path))
        return [listed, head, view.remarks(facts, measured), view.figures(measured), view.about(facts)]

    def _gallery(self, found: Examples, picked: list[str]) -> str:
        """The pictures that there are; those that are published have their number, and the first is the cover."""
        if not found.pictures:
            return html.hint(NO_PICTURES)
        cells = "".join(self._cell(one, picked) for one in found.pictures)
        text = "Click the pictures to publish. The first one is the cover."
        return f'<p class="lw-quiet">{text}</p><div class="lw-choose" role="group" aria-label="Pictures">{cells}</div>'

    def _cell(self, example: Example, picked: list[str]) -> str:
        name = example.path.name
        number = picked.index(name) + 1 if name in picked else 0
        badge = f'<span class="lw-badge">{"cover" if number == 1 else number}</span>' if number else ""
        title = html.escape(example.prompt or name)
        css, pressed = "lw-choice lw-chosen" if number else "lw-choice", str(bool(number)).lower()
        return (
            f'<div class="lw-choice-box"><button type="button" class="{css}" data-lw-into="{PICK}" '
            f'data-lw-pick="{html.escape(name)}" aria-pressed="{pressed}" title="{title}">'
            f'<img src="{self._url(example.path)}" alt="{title}" loading="lazy">{badge}</button>'
            f"{self._make_cover(name, number)}</div>"
        )

    def _make_cover(self, name: str, number: int) -> str:
        """A button at a picture that is published but is not the cover."""
        if number < 2:
            return ""
        return html.pick_button("make it the cover", PICK, f"{COVER}{name}", "lw-to-cover")

    # -- small parts --------------------------------------------------------------------------------------------------

    def _library(self) -> str:
        loras = self.workbench.list_loras()
        if not loras:
            return html.hint(NO_LORAS, "Train a LoRA", "Train")
        return html.hint(EMPTY) + view.library(loras, self.pictures, OPEN)

    def _examples(self, path: Path) -> Examples:
        found = examples_of(path, self.workbench.runs)
        own = self.brought.pictures(path)
        return replace(found, pictures=(*own, *found.pictures), usual=min(USUAL, len(own) + found.usual))

    def _first(self, path: Path) -> str:
        """The most telling picture of a LoRA that has none beside it."""
        found = self._examples(path).pictures
        return self._url(found[0].path) if found else ""

    def _url(self, path: Path) -> str:
        """Of a picture; those beside LoRA files lie outside of what is given out, and come as data."""
        return self.pictures.url(path) if self.pictures.gives_out(path) else self._thumbnail(path)

    def _thumbnail(self, path: Path) -> str:
        key = path, path.stat().st_mtime_ns
        if key not in self._thumbnails:
            read = thumbnail if path.name.lower().endswith(PREVIEWS) else preview_of
            picture = read(path, THUMBNAIL)
            self._thumbnails[key] = data_url(picture) if picture is not None else ""
        return self._thumbnails[key]
