"""Dataset: from a folder of downloads to a balanced, captioned training set."""

from __future__ import annotations

from typing import Any

import gradio as gr

from lib_lora.access import changes, looks
from lib_lora.dataset.caption import split_tags
from lib_lora.errors import UserError
from lib_lora.ui import html
from lib_lora.ui.actions import NO_MESSAGE, act, panel
from lib_lora.ui.compat import listen
from lib_lora.ui.dataset.caption_panel import CaptionPanel
from lib_lora.ui.dataset.change_panel import ChangePanel
from lib_lora.ui.dataset.classes_panel import ClassesPanel
from lib_lora.ui.dataset.composites_panel import CompositesPanel
from lib_lora.ui.dataset.duplicates_panel import DuplicatesPanel
from lib_lora.ui.dataset.gallery import Gallery
from lib_lora.ui.dataset.panel import Panel
from lib_lora.ui.dataset.pictures_panel import PicturesPanel
from lib_lora.ui.dataset.report_panel import ReportPanel
from lib_lora.ui.dataset.session import Session
from lib_lora.ui.dataset.tagging_panel import TaggingPanel
from lib_lora.ui.dataset.tags_panel import ADD_FIRST, TagsPanel
from lib_lora.ui.dataset.views import Album
from lib_lora.ui.files import Pictures
from lib_lora.ui.form import SettingsForm
from lib_lora.ui.poll import Poller
from lib_lora.workbench import Workbench


class DatasetTab:
    """Folders, gallery and caption above; the dry run; a tray of tools below, in the order of the work."""

    def __init__(self, workbench: Workbench, pictures: Pictures):
        self.session = Session(workbench)
        album = Album(self.session, pictures)
        self.gallery = Gallery(self.session, album)
        self.caption = CaptionPanel(self.session, album)
        self.change = ChangePanel(self.session, album, self.caption)
        self.tags, self.classes = TagsPanel(self.session, album), ClassesPanel(self.session, album)
        self.composites, self.report = CompositesPanel(self.session, album), ReportPanel(self.session, album)
        first = [DuplicatesPanel(self.session, album), TaggingPanel(self.session, album)]
        pictures_panel = PicturesPanel(self.session, album)
        self.tools: list[Panel] = [*first, self.tags, self.classes, pictures_panel, self.composites, self.report]
        self._shown: tuple[int, list[Any]] = (-1, [])

    # -- components ---------------------------------------------------------------------------------------------------

    def build(self) -> None:
        self.gallery.build_open()
        with gr.Row(elem_classes=["lw-ds-desk"]):
            with gr.Column(scale=2, min_width=180):
                self.gallery.build_folders()
            with gr.Column(scale=6, min_width=360):
                self.gallery.build_pictures()
            with gr.Column(scale=3, min_width=240):
                self.caption.build()
        self.change.build()
        with gr.Tabs(elem_id="lw_ds_tools") as self.tray:
            for tool in self.tools:
                with gr.TabItem(tool.name, id=tool.key, elem_id=f"lw_ds_tool_{tool.key}"):
                    tool.build()
        self.clicked = gr.Textbox(label="Clicked", elem_id="lw_ds_do", elem_classes=["lw-hidden"])
        self.message = panel("lw_ds_click_message")

    # -- events -------------------------------------------------------------------------------------------------------

    def connect(self, page: gr.Blocks, poller: Poller, tabs: gr.Tabs, train_form: SettingsForm) -> None:
        """``train_form``: that of the Train tab, which gets the set at last."""
        gallery = self.gallery
        self.panels = [self.caption, self.change, *self.tools]
        views = [view for shown in self.panels for view in shown.views()]
        self.views = [(gallery.summary, gallery.summary_view), (gallery.pictures, gallery.pictures_view), *views]
        self.outputs = [component for component, _ in self.views]
        self.verbs = {
            "page": gallery.turn, "folder": gallery.choose_folder, "mark": gallery.mark, "markall": gallery.mark_all,
            "clear": gallery.clear, **{name: verb for shown in self.panels for name, verb in shown.verbs().items()},
        }  # fmt: skip
        opened = [self.caption.caption, *gallery.filters]
        self.on(gallery.open.click, self.open, [gallery.folders], gallery.message, opened, busy="Opening …")
        for field in gallery.filters:
            self.on(field.submit, gallery.do_filter, gallery.filters, gallery.message)
            self.on(field.blur, gallery.do_filter, gallery.filters, gallery.message)
        filled = [self.caption.caption, self.tray, *gallery.filters]
        self.on(self.clicked.change, self.do, [self.clicked], self.message, filled)
        for shown in self.panels:
            shown.connect(self.on)
        gallery.picker.connect(gallery.folders)
        self._carry_trigger()
        self.report.connect_train(poller, tabs, train_form)
        listen(page.load, self.on_load, [], [gallery.folders, self.caption.caption, *gallery.filters])
        poller.keep(self.now, self.outputs)
        poller.keep(self.change.live, [self.change.progress, self.change.running])

    def on(self, trigger: Any, fn: Any, inputs: Any, message: Any, outputs: Any = (), busy: str = "") -> None:
        """An action, after which everything is shown anew."""
        done = act(trigger, fn, inputs, message, outputs, busy=busy)
        listen(done.then, self.now, [], self.outputs)

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
    def open(self, folders: str) -> list[Any]:
        return [self.gallery.do_open(folders), self.caption.now(), "", "", ""]

    @changes
    def do(self, clicked: str) -> list[Any]:
        """A click in our HTML: ``verb:value|time``."""
        verb, _, value = clicked.rpartition("|")[0].partition(":")
        skip = gr.update()
        if verb == "tool":
            return [NO_MESSAGE, skip, gr.update(selected=value), skip, skip, skip]
        if verb not in self.verbs:
            raise UserError(f"Nothing is known about {verb!r}", fix="Reload the page")
        self.verbs[verb](value)
        caption = self.caption.now() if verb == "select" else skip
        filters = self._filters() if verb in ("with", "without") else [skip] * 3
        return [NO_MESSAGE, caption, skip, *filters]

    @looks
    def on_load(self) -> list[Any]:
        """Fields of a page that has just been opened."""
        editor = self.session.editor
        folders = "\n".join(map(str, editor.folders)) if editor else gr.update()
        return [folders, self.caption.now(), *self._filters()]

    @looks
    def now(self) -> list[Any]:
        """What is shown, computed only when something has changed."""
        version = self.session.version
        if self._shown[0] != version:
            try:
                values = [source() for _, source in self.views]
            except UserError as error:
                values = [html.error_message(error), *[gr.update()] * (len(self.views) - 1)]
            self._shown = (version, values)
        return self._shown[1]

    def _filters(self) -> list[str]:
        now = self.session.filter
        return [", ".join(part) for part in (now.all_of, now.any_of, now.none_of)]


@looks
def filled(value: str, field: str) -> Any:
    """An update of an empty field."""
    return (value or "").strip() if not (field or "").strip() else gr.update()
