"""Dataset: from a folder of downloads to a balanced, captioned training set."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from typing import Any

import gradio as gr

from lib_lora.access import changes, looks
from lib_lora.dataset.caption import split_tags
from lib_lora.dataset.proposals import propose
from lib_lora.demo.dolls import NAME as DOLL
from lib_lora.demo.dolls import miniature_of, write_dolls
from lib_lora.errors import UserError
from lib_lora.training.config import TrainConfig
from lib_lora.training.presets import MINIATURE, preset
from lib_lora.ui import html
from lib_lora.ui.actions import NO_MESSAGE, panel
from lib_lora.ui.compat import listen
from lib_lora.ui.dataset.caption_panel import CaptionPanel
from lib_lora.ui.dataset.change_panel import ChangePanel
from lib_lora.ui.dataset.classes_panel import ClassesPanel
from lib_lora.ui.dataset.composites_panel import CompositesPanel
from lib_lora.ui.dataset.duplicates_panel import DuplicatesPanel
from lib_lora.ui.dataset.gallery import Gallery
from lib_lora.ui.dataset.hold_panel import HoldPanel
from lib_lora.ui.dataset.made_panel import MadePanel
from lib_lora.ui.dataset.pages import Connector, Pages
from lib_lora.ui.dataset.panel import Panel
from lib_lora.ui.dataset.pictures_panel import PicturesPanel
from lib_lora.ui.dataset.report_panel import ReportPanel
from lib_lora.ui.dataset.session import Session
from lib_lora.ui.dataset.tagging_panel import TaggingPanel
from lib_lora.ui.dataset.tags_panel import ADD_FIRST, TagsPanel
from lib_lora.ui.dataset.uploads import Uploads
from lib_lora.ui.dataset.views import Album
from lib_lora.ui.files import Pictures
from lib_lora.ui.poll import Poller
from lib_lora.ui.status import load_checkpoint
from lib_lora.ui.train_tab import TrainTab
from lib_lora.workbench import Workbench


class DatasetTab:
    """The gallery; beside it the caption of a picture; beside that the dry run, and the tools in the order of the work.

    Args:
        uploads: takes pictures that are dropped; None where there are no uploads.
    """

    def __init__(self, workbench: Workbench, pictures: Pictures, uploads: Uploads | None = None):
        desk = self.pages = Pages(workbench)
        self.uploads = uploads
        album = Album(desk, pictures)
        self.gallery = Gallery(desk, album, uploads=uploads is not None)
        self.hold = HoldPanel(desk, album)
        self.caption = CaptionPanel(desk, album)
        self.change = ChangePanel(desk, album, self.caption)
        self.tags, self.classes = TagsPanel(desk, album), ClassesPanel(desk, album)
        self.composites, self.report = CompositesPanel(desk, album), ReportPanel(desk, album)
        first = [DuplicatesPanel(desk, album), TaggingPanel(desk, album)]
        pictures_panel, self.made = PicturesPanel(desk, album), MadePanel(desk, album)
        edits = [self.tags, self.classes, pictures_panel, self.made, self.composites]
        self.tools: list[Panel] = [*first, *edits, self.report]

    @property
    def session(self) -> Session:
        """That of the page whose event is handled."""
        return self.pages.here()

    # -- components ---------------------------------------------------------------------------------------------------

    def build(self) -> None:
        """Pictures on the left, tools on the right."""
        self.gallery.build_open()
        self.hold.build()
        with gr.Row(elem_classes=["lw-ds-desk"]):
            with gr.Column(scale=6, min_width=380, elem_classes=["lw-ds-left"]):
                self.gallery.build_folders()
                self.gallery.build_pictures()
            with gr.Column(scale=3, min_width=260, elem_classes=["lw-ds-inspector"]):
                self.caption.build()
            with gr.Column(scale=4, min_width=320, elem_id="lw_ds_tools", elem_classes=["lw-ds-tools"]):
                self.change.build()
                for number, tool in enumerate(self.tools):
                    tray = {"elem_id": f"lw_ds_tool_{tool.key}", "elem_classes": ["lw-ds-tool"]}
                    with gr.Accordion(tool.name, open=number == 0, **tray):
                        tool.build()
                self.change.build_history()
        self.clicked = gr.Textbox(label="Clicked", elem_id="lw_ds_do", elem_classes=["lw-hidden"])
        self.dolls = gr.Textbox(label="Try it", elem_id="lw_ds_dolls", elem_classes=["lw-hidden"])
        self.again = gr.Textbox(label="Open again", elem_id="lw_ds_again", elem_classes=["lw-hidden"])
        self.dropped = gr.Textbox(label="Uploaded", elem_id="lw_ds_dropped", elem_classes=["lw-hidden"])
        self.message = panel("lw_ds_click_message")

    # -- events -------------------------------------------------------------------------------------------------------

    def connect(self, page: gr.Blocks, poller: Poller, tabs: gr.Tabs, train: TrainTab) -> None:
        """``train``: the tab that gets the set."""
        gallery = self.gallery
        self.form = train.form
        self.panels = [self.caption, self.change, *self.tools]
        views = [view for shown in self.panels for view in shown.views()]
        self.views = [(gallery.summary, gallery.summary_view), (gallery.pictures, gallery.pictures_view), *views]
        following = [view for shown in self.panels if shown.follows for view in shown.views()]
        self.following = {component for component, _ in ((gallery.pictures, None), *following)}
        self.outputs = [component for component, _ in self.views]
        on = self.on = Connector(self.pages, self.now)
        on.outputs = self.outputs
        self.verbs = {
            "page": gallery.turn, "sort": gallery.sort, "folder": gallery.choose_folder,
            "mark": gallery.mark, "markto": gallery.mark_to, "markall": gallery.mark_all,
            "clear": gallery.clear, "badpng": gallery.convert_bad,
            "badaside": gallery.set_bad_aside,
            **{name: verb for shown in self.panels for name, verb in shown.verbs().items()},
        }  # fmt: skip
        caption = self.caption.field
        filled = [*caption, *gallery.filters]
        opened = on(
            gallery.open.click, self.open, [gallery.folders, *caption], gallery.message, filled, busy="Opening …"
        )
        self._carry(on, opened, train)
        reopened = on(self.again.change, self.reopen, [self.again], gallery.message,
                      [*filled, gallery.folders])  # fmt: skip
        self._carry(on, reopened, train)
        given = [gallery.folders, train.preset, *train.form.inputs]
        played = on(self.dolls.change, self.play, [], gallery.message, [*filled, *given])
        self._carry(on, played, train)
        if self.uploads:
            brought = on(self.dropped.change, self.take, [self.dropped, *caption], gallery.message,
                         [*filled, gallery.folders])  # fmt: skip
            self._carry(on, brought, train)
        for field in gallery.filters:
            for trigger in (field.submit, field.blur):
                on(trigger, self.filter, [*gallery.filters, *caption], gallery.message, caption)
        clicked = [*caption, *gallery.filters]
        on(self.clicked.change, self.do, [self.clicked, *caption], self.message, clicked)
        for shown in (self.hold, *self.panels):
            shown.connect(on)
        on.keep(poller, self.hold.live, self.hold.outputs)
        gallery.picker.connect(gallery.folders)
        self._carry_trigger()
        self.made.connect_live(on, page, poller)
        self.report.connect_train(on, poller, tabs, train.form)
        on.listen(page.load, self.on_load, [], [gallery.folders, *caption, *gallery.filters])
        on.keep(poller, self.now, self.outputs)
        poller.keep(self.change.live, [self.change.progress])

    def _carry(self, on: Connector, event: Any, train: TrainTab) -> None:
        """The set that ``event`` has opened is Train's folder."""
        folder = train.form.fields["data_dir"]
        train.of_set.after_folder(on.listen(event.then, self.folder_for_train, [folder], [folder]))

    @looks
    def folder_for_train(self, before: str) -> Any:
        """The folder of the open set, for Train; it takes one."""
        folders = self.session.editor.folders if self.session.editor else ()
        return str(folders[0]) if len(folders) == 1 and str(folders[0]) != before else gr.update()

    def _carry_trigger(self) -> None:
        """A trigger that was given once is not asked for again: empty fields get it."""
        tags, name, trigger = self.tags, self.classes.subject, self.report.trigger
        listen(tags.plan.click, self.from_tags, [tags.action, tags.tags, name, trigger], [name, trigger])
        listen(self.classes.sort.click, filled, [name, trigger], [trigger])

    @looks
    def from_tags(self, action: str, tags: str, *fields: str) -> list[Any]:
        """The tag that is put in front, for the fields that are empty."""
        given = split_tags(tags or "")[:1] if action == ADD_FIRST else []
        return [filled(given[0] if given else "", field) for field in fields]

    @changes(paths=("folders",))
    def open(self, folders: str, caption: str, base: str) -> list[Any]:
        """Open folders; what is being typed is kept before."""
        self._keep_typed(caption, base)
        return [self.gallery.do_open(folders), *self.caption.shown(), "", "", ""]

    def _keep_typed(self, caption: str, base: str) -> None:
        """Save what was typed before another set is shown, also where this one was taken over meanwhile."""
        if self.session.editor is not None:
            self.session.rejoin()
            self.caption.keep(caption, base)

    @changes
    def take(self, dropped: str, caption: str, base: str) -> list[Any]:
        """Open what was uploaded: the key of the set, then the time."""
        assert self.uploads is not None
        key = dropped.rpartition("|")[0]
        if not key:
            return [NO_MESSAGE, *[gr.update()] * 6]
        intake = self.uploads.find(key)
        self._keep_typed(caption, base)
        said = self.gallery.do_open(str(intake.folder))
        left = (
            f"; {html.plural(intake.taken.left_out, 'file')} of other kinds left out" if intake.taken.left_out else ""
        )
        text = f"{html.plural(intake.taken.files, 'file')} taken into {intake.folder}{left}."
        return [html.message(text, html.GOOD) + said, *self.caption.shown(), "", "", "", str(intake.folder)]

    @changes
    def reopen(self, clicked: str) -> list[Any]:
        """Open the set of before the restart; gradio also says when it empties the field."""
        folders = "\n".join(map(str, self.gallery.before()))
        if not clicked or not folders:
            return [NO_MESSAGE, *[gr.update()] * 6]
        return [self.gallery.do_open(folders), *self.caption.shown(), "", "", "", folders]

    @changes
    def play(self) -> list[Any]:
        """Paper dolls to try everything with: their set, the miniature, and settings that suit both."""
        host = self.pages.workbench.host
        model = miniature_of(host)
        if not model:
            raise UserError(
                "The miniature is not among the checkpoints", fix="python -m lib_lora demo export puts it there"
            )
        folder = write_dolls(host.paths.places.sets)
        if (loaded := host.info()) is None or loaded.name != model:
            load_checkpoint(self.pages.workbench, model)
        self.gallery.do_open(str(folder))
        usual = preset(MINIATURE)
        name = self.pages.workbench.free_name(DOLL)
        config = replace(usual.applied_to(TrainConfig()), data_dir=str(folder), name=name, trigger=DOLL,
                         sample_prompts=propose(folder, DOLL, host.literal).prompts)  # fmt: skip
        text = "24 paper dolls, all of one character. Look around; then go on with step 2, where all is filled in."
        values = [getattr(config, field) for field in self.form.names]
        self.form.keep(usual.name, *values)
        return [html.message(text, html.GOOD), *self.caption.shown(), "", "", "", str(folder), usual.name, *values]

    @changes
    def filter(self, all_of: str, any_of: str, none_of: str, caption: str, base: str) -> list[Any]:
        """Narrow the gallery; the caption shown is that of a picture in it."""
        saved = self.caption.keep(caption, base)
        said = self.gallery.do_filter(all_of, any_of, none_of)
        return [said or saved, *self._followed()]

    @changes
    def do(self, clicked: str, caption: str, base: str) -> list[Any]:
        """A click in our HTML: ``verb:value|time``."""
        verb, _, value = clicked.rpartition("|")[0].partition(":")
        skip = gr.update()
        if verb not in self.verbs:
            raise UserError(f"Unknown action {verb!r}", fix="Reload the page")
        narrows = verb in ("with", "without", "folder", "only")
        saved = self.caption.keep(caption, base) if narrows else ""
        self.verbs[verb](value)
        shows = verb == "select" and "|" in value  # the page has the caption, and something may be typed there by now
        field = self._followed() if narrows else self.caption.shown() if verb == "select" and not shows else [skip] * 2
        filters = self._filters() if verb in ("with", "without") else [skip] * 3
        return [saved or NO_MESSAGE, *field, *filters]

    def _followed(self) -> list[Any]:
        """The caption of the current picture, which is one of those shown; of none where none is shown."""
        shown = [picture.path for picture in self.session.shown()] if self.session.editor else []
        if self.session.current not in shown:
            self.session.current = shown[0] if shown else None
            self.session.look()
        return self.caption.shown()

    @looks
    def on_load(self) -> list[Any]:
        """Fields of a page that has just been opened."""
        editor = self.session.editor
        folders = "\n".join(map(str, editor.folders)) if editor else gr.update()
        return [folders, *self.caption.shown(), *self._filters()]

    @looks
    def now(self) -> list[Any]:
        """What is shown, computed only when something has changed, and only what can have."""
        session = self.session
        version, (before, known) = session.version, session.views
        if before != version:
            stays = [before[:2] == version[:2] and component not in self.following for component, _ in self.views]
            try:
                values = [known[i] if stays[i] else source() for i, (_, source) in enumerate(self.views)]
            except UserError as error:
                values = [html.error_message(error), *[gr.update()] * (len(self.views) - 1)]
                session.touch()  # all of it is tried again
            session.views = (version, values)
        return deepcopy(session.views[1])  # gradio takes the values out of the updates that it is given

    def _filters(self) -> list[str]:
        now = self.session.filter
        return [", ".join(part) for part in (now.all_of, now.any_of, now.none_of)]


@looks
def filled(value: str, field: str) -> Any:
    """An update of an empty field."""
    return (value or "").strip() if not (field or "").strip() else gr.update()
