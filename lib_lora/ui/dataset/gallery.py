"""Open, filter, look, mark: the pictures of the set, page by page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from lib_lora.access import changes, permits
from lib_lora.dataset.caption import split_tags
from lib_lora.dataset.collection.bad_files import plan_aside, plan_png
from lib_lora.dataset.collection.picture import Picture
from lib_lora.dataset.scan import CONCEPT_NAME
from lib_lora.dataset.sidecars import is_made
from lib_lora.dataset.tags.index import TagFilter
from lib_lora.demo.dolls import miniature_of
from lib_lora.errors import UserError
from lib_lora.ui import html
from lib_lora.ui.actions import panel
from lib_lora.ui.dataset.pages import Pages
from lib_lora.ui.dataset.session import ORDERS, Session
from lib_lora.ui.dataset.views import Album, file_name, link, shown_path, text
from lib_lora.ui.folder_picker import FolderPicker, places_of

PAGE = 48
SHOWN_PROBLEMS = 100
DROP = "Drop pictures, a folder or a zip here. Or open a folder of this machine above."
PLAY = "Try it with the paper dolls"
EMPTY = "Open a folder of images: kohya's 10_name folders, plain folders, or downloads with their side-cars."


class Gallery:
    """Folders above, thumbnails below; ``uploads``: whether pictures can be dropped here."""

    def __init__(self, desk: Session | Pages, album: Album, *, uploads: bool = False):
        self._desk, self.album, self.uploads = desk, album, uploads
        self.picker = FolderPicker(lambda: places_of(desk.workbench), "lw_ds_browse", several=True)

    @property
    def session(self) -> Session:
        """That of the page whose event is handled."""
        return self._desk.here()

    def build_open(self) -> None:
        """The field of the folders, with all ways to fill it."""
        with gr.Row(elem_classes=["lw-fields", "lw-folder"]):
            self.folders = gr.Textbox(
                label="Folders of images",
                placeholder="One a line; sub-folders are included",
                elem_id="lw_ds_folders",
                lines=1,
                scale=5,
            )
            self.picker.build_button()
            self.open = gr.Button("Open", variant="primary", elem_id="lw_ds_open", scale=0, min_width=110)
        self.picker.build_list()
        if self.uploads:
            panel("lw_ds_upload", _drop_line())
        self.message = panel("lw_ds_message")

    def build_folders(self) -> None:
        """How many pictures lie where."""
        self.summary = panel("lw_ds_summary")

    def build_pictures(self) -> None:
        """The filter, and below it the page of pictures."""
        with gr.Row(elem_classes=["lw-fields", "lw-ds-filter"]):
            self.all_of = gr.Textbox(label="With all of", placeholder="1girl, *hair", elem_id="lw_ds_all")
            self.any_of = gr.Textbox(label="With any of", placeholder="smile, grin", elem_id="lw_ds_any")
            self.none_of = gr.Textbox(label="Without", placeholder="monochrome", elem_id="lw_ds_none")
        self.pictures = panel("lw_ds_pictures", self._empty(""))

    @property
    def filters(self) -> list[Any]:
        """The three fields of the filter."""
        return [self.all_of, self.any_of, self.none_of]

    # -- handlers -----------------------------------------------------------------------------------------------------

    def do_open(self, folders: str) -> str:
        """Open folders, one a line; pictures among them open theirs."""
        paths = [Path(line.strip().strip('"')).expanduser() for line in (folders or "").splitlines() if line.strip()]
        if file := next((path for path in paths if path.is_file()), None):
            raise UserError("This is a file, not a folder", where=file, fix=f"Open the folder it is in: {file.parent}")
        if missing := next((path for path in paths if not path.is_dir()), None):
            raise UserError("There is no such folder", where=missing, fix="Check the path")
        editor = self.session.open(paths)
        repaired = f" Put right after a crash: {', '.join(editor.recovered)}." if editor.recovered else ""
        if editor.journal.trouble is not None:
            return html.error_message(editor.journal.trouble)
        if not editor.pictures:
            return html.message("There is no picture in this folder." + repaired, html.WARNING)
        return html.message(repaired.strip(), html.WARNING)

    @changes
    def do_filter(self, all_of: str, any_of: str, none_of: str) -> str:
        """Show only pictures with these tags; ``*`` stands for anything."""
        self.session.filter = TagFilter(*(tuple(split_tags(part or "")) for part in (all_of, any_of, none_of)))
        self.session.page = 0
        self.session.touch()
        return ""

    def turn(self, step: str) -> None:
        """To another page of the gallery."""
        self.session.page = max(0, self.session.page + int(step))
        self.session.look()

    def choose_folder(self, number: str) -> None:
        """Show one folder; the same again shows all."""
        folder = self._folders()[int(number)]
        self.session.folder = None if self.session.folder == folder else folder
        self.session.page = 0
        self.session.touch()

    def mark(self, key: str) -> None:
        """Add a picture to the marked ones, or take it away."""
        self.session.marked ^= {self.session.find(key).path}
        self.session.look()

    def mark_to(self, key: str) -> None:
        """Mark everything from the current picture to this one, in the order that is shown."""
        shown = self.session.shown()
        end = shown.index(self.session.find(key))
        begin = next((place for place, picture in enumerate(shown) if picture.path == self.session.current), end)
        self.session.marked |= {picture.path for picture in shown[min(begin, end) : max(begin, end) + 1]}
        self.session.look()

    def sort(self, order: str) -> None:
        """Another order of the pictures."""
        self.session.order = order if order in ORDERS else "name"
        self.session.page = 0
        self.session.touch()

    def mark_all(self, which: str) -> None:
        """Mark everything that passes the filter, or nothing."""
        self.session.marked = frozenset(p.path for p in self.session.shown()) if which == "shown" else frozenset()
        self.session.look()

    def clear(self, _: str) -> None:
        """Leave the list of pictures that a warning has named."""
        self.session.only = None
        self.session.touch()

    def convert_bad(self, _: str) -> None:
        """Plan to convert what cannot be used as it is."""
        self.session.propose(plan_png(self._bad_files(), self.session.opened().originals))

    def set_bad_aside(self, _: str) -> None:
        """Plan to set aside what cannot be used."""
        self.session.propose(plan_aside(self._bad_files(), self.session.opened().rejected))

    def _bad_files(self) -> list[Path]:
        """Those that are left out; others of the list are used all the same."""
        return [one.path for one in self.session.opened().problems if one.skipped and one.path.is_file()]

    # -- views --------------------------------------------------------------------------------------------------------

    def summary_view(self) -> str:
        """Folders with their counts, and files that cannot be used."""
        if self.session.editor is None:
            return ""
        editor = self.session.editor
        counts = Counter(picture.folder for picture in editor.pictures)
        rows = "".join(self._folder_row(number, *pair) for number, pair in enumerate(counts.items()))
        tagged = sum(bool(picture.tags) for picture in editor.pictures)
        head = f"<span><b>{html.plural(len(editor.pictures), 'image')}</b> · {tagged:,} with tags</span>"
        folders = f'<div class="lw-ds-folders">{rows}</div>'
        return f'<div class="lw-panel" id="lw_ds_set">{head}{folders}{self._problems()}</div>'

    def pictures_view(self) -> str:
        """One page of thumbnails with what can be done about them."""
        if self.session.editor is None:
            return self._empty(self._again())
        shown = self.session.shown()
        pages = max(1, -(-len(shown) // PAGE))
        self.session.page = min(self.session.page, pages - 1)
        page = shown[self.session.page * PAGE : (self.session.page + 1) * PAGE]
        marks = [self._mark(picture) for picture in page]
        figures = self.album.figures(page, "select", self._labels(page), marks) or html.hint(
            "No picture passes the filter."
        )
        gallery = f'<div class="lw-ds-gallery" data-lw-loupe>{figures}</div>'
        return f"{self._bar(len(shown), pages)}{gallery}"

    def before(self) -> Sequence[Path]:
        """The folders that were open before the restart; none where they may not be named from here."""
        folders = self.session.before
        return folders if all(map(permits, folders)) else ()

    def _again(self) -> str:
        """The button that opens the set of before the restart; empty where there was none."""
        folders = self.before()
        if not folders:
            return ""
        named = f"Open {folders[0].name} again" if len(folders) == 1 else f"Open {len(folders)} folders again"
        return f"<p>{html.pick_button(named, 'lw_ds_again', 'again', 'lw-lead')}</p>"

    def _empty(self, again: str) -> str:
        """Nothing is open: how to begin; ``again``: the button that goes on with what was open."""
        play = html.pick_button(PLAY, "lw_ds_dolls", "play") if miniature_of(self._desk.workbench.host) else ""
        drop = _drop_zone("lw-pick" if again else "lw-lead") if self.uploads else ""
        text = DROP if self.uploads else EMPTY
        return f'<div class="lw-ds-none">{html.hint(text, more=f"{again}{drop}{play}")}</div>'

    def _bar(self, shown: int, pages: int) -> str:
        session, total = self.session, len(self.session.opened().pictures)
        acting = f"{html.plural(len(session.marked), 'marked image')}" if session.marked else f"these {shown:,} images"
        parts = [f"<b>{shown:,}</b> of {total:,} · tools act on <b>{acting}</b>"]
        if session.only:
            parts.append(f"{text(session.only[0])} {link('show all', 'clear')}")
        parts.append(link("mark these", "markall", "shown") + link("unmark", "markall", "none"))
        if pages > 1:
            parts.append(f"{link('‹', 'page', '-1')} page {session.page + 1} of {pages} {link('›', 'page', '1')}")
        orders = "".join(
            f'<option value="{order}"{" selected" if order == session.order else ""}>{name}</option>'
            for order, (name, _) in ORDERS.items()
        )
        parts.append(f'<select class="lw-ds-sort" aria-label="Order">{orders}</select>')
        parts.append(
            '<input type="range" class="lw-ds-size" min="72" max="260" value="112" aria-label="Size of the pictures">'
        )
        return f'<div class="lw-ds-bar">{"".join(f"<span>{part}</span>" for part in parts)}</div>'

    def _labels(self, page: Sequence[Picture]) -> list[str]:
        """Names, with the folder where there are several."""
        if len({picture.folder for picture in self.session.opened().pictures}) < 2:
            return [picture.path.stem + _made(picture) for picture in page]
        return [f"{picture.folder.name}/{picture.path.stem}{_made(picture)}" for picture in page]

    def _mark(self, picture: Picture) -> str:
        marks = ["lw-chosen"] if picture.path == self.session.current else []
        marks += ["lw-ds-marked"] if picture.path in self.session.marked else []
        marks += ["lw-ds-untagged"] if not picture.tags else []
        return " ".join(marks)

    def _folders(self) -> list[Path]:
        return list(dict.fromkeys(picture.folder for picture in self.session.opened().pictures))

    def _folder_row(self, number: int, folder: Path, own: int) -> str:
        named = CONCEPT_NAME.fullmatch(folder.name)
        repeats = int(named[1]) if named else 1
        chosen = "lw-chosen" if folder == self.session.folder else ""
        name = shown_path(folder, self.session.opened().folders[0])
        return (
            f'<button class="lw-ds-folder {chosen}" data-lw-do="folder:{number}"><b>{text(name)}</b>'
            f"<span>{html.plural(own, 'image')} × {html.plural(repeats, 'repeat')}</span></button>"
        )

    def _problems(self) -> str:
        problems = self.session.opened().problems
        if not problems:
            return ""
        items = [f"{file_name(p.path.name)}: {text(p.reason)}. {text(p.fix)}." for p in problems[:SHOWN_PROBLEMS]]
        items += [f"and {len(problems) - SHOWN_PROBLEMS} more"] if len(problems) > SHOWN_PROBLEMS else []
        shown = "".join(f"<li>{item}</li>" for item in items)
        both = link("Convert all to PNG …", "badpng") + link("Set all aside …", "badaside")
        return (
            f"<details><summary>{html.plural(len(problems), 'file')} to look at</summary>"
            f"<ul>{shown}</ul>{both}</details>"
        )


def _made(picture: Picture) -> str:
    """The mark of pictures that a model drew."""
    return " · made" if is_made(picture.path) else ""


def _drop_zone(first: str) -> str:
    """Buttons for those who do not drop; the page's script knows both. ``first``: how the first one looks."""
    return (
        f'<button type="button" class="{first}" data-lw-upload="files">Choose pictures or a zip …</button> '
        '<button type="button" class="lw-pick" data-lw-upload="folder">Choose a folder …</button> '
    )


def _drop_line() -> str:
    """Says in every state of the tab that pictures can be dropped, and how many of them have arrived."""
    choose = '<button type="button" class="lw-link" data-lw-upload="{}">{}</button>'.format
    return (
        '<div class="lw-drop"><span class="lw-quiet">Or drop pictures, a folder or a zip anywhere on this tab:'
        f"</span>{choose('files', 'choose files …')}{choose('folder', 'choose a folder …')}</div>"
        '<div class="lw-drop-said" role="status"></div>'
    )
