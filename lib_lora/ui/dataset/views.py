"""HTML of pictures, dry runs and lists; what is clicked says so in ``data-lw-do``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from lib_lora.dataset.collection.change import Change, Make
from lib_lora.dataset.collection.picture import Picture
from lib_lora.dataset.collection.record import Entry
from lib_lora.dataset.collection.thumbnails import Thumbnails
from lib_lora.dataset.problems import BadFile
from lib_lora.dataset.text_file import plain_lines
from lib_lora.ui import html
from lib_lora.ui.dataset.session import Session
from lib_lora.ui.files import Pictures

if TYPE_CHECKING:
    from lib_lora.ui.dataset.pages import Pages

THREADS = 2
SHOWN_ENTRIES = 12
SHOWN_EXAMPLES = 5


def text(value: object) -> str:
    """Escaped, for HTML."""
    return escape(plain(value))


def plain(value: object) -> str:
    """Names that are no Unicode get a replacement letter instead of breaking the page."""
    return str(value).encode(errors="replace").decode()


def letters(value: str) -> str:
    """Escaped, every letter as it stands: line ends are seen, blanks are not joined by the page."""
    shown = value.replace("\r\n", "␍␊\n").replace("\n", "↵\n").replace("␊↵", "␊").replace("\t", "⇥")
    return text(shown)


def file_name(name: str) -> str:
    """Escaped; a narrow line breaks it wherever it must, but not within its ending."""
    return re.sub(r"\.\w{1,6}(?=$| )", r'<span class="lw-ending">\g<0></span>', text(name))


def _label(caption: str) -> str:
    """Below a thumbnail; of ``folder/name`` the folder gives way where there is not room for both."""
    folder, _, name = caption.rpartition("/")
    if not folder or not name:
        return f"<span>{file_name(caption)}</span>"
    return f'<span class="lw-name"><i>{text(folder)}/</i><b>{file_name(name)}</b></span>'


class Album:
    """Thumbnails by address."""

    def __init__(self, desk: Session | Pages, files: Pictures):
        self._desk, self.files = desk, files

    @property
    def session(self) -> Session:
        """That of the page which asks."""
        return self._desk.here()

    def urls(self, pictures: Sequence[Picture]) -> list[str]:
        """One a picture, "" where it cannot be decoded; missing thumbnails are made now."""
        thumbnails = self.session.opened().thumbnails
        with ThreadPoolExecutor(THREADS) as pool:
            return list(pool.map(lambda picture: self._url(thumbnails, picture), pictures))

    def preview(self, picture: Picture) -> str:
        """A larger one to work on."""
        return self._url(self.session.opened().previews, picture)

    def figures(
        self, pictures: Sequence[Picture], verb: str, captions: Iterable[str] = (), marks: Iterable[str] = ()
    ) -> str:
        """Thumbnails side by side; a click sends ``verb`` and the picture's key, and the page's script has its caption.

        Args:
            captions: a line below each; its name without.
            marks: class names of each, e.g. ``lw-chosen``.
        """
        captions, marks = list(captions) or [p.path.stem for p in pictures], list(marks) or [""] * len(pictures)
        rows = zip(pictures, self.urls(pictures), captions, marks, strict=True)
        return "".join(self._figure(p, url, f"{verb}:{self.session.key(p)}", *more) for p, url, *more in rows)

    def _figure(self, picture: Picture, url: str, action: str, caption: str, mark: str) -> str:
        title = text(_title(picture))
        return (
            f'<button class="lw-thumb {mark}" data-lw-do="{action}" {self._own(picture)} title="{title}">'
            f"{_image(url, picture)}{_label(caption)}</button>"
        )

    def _own(self, picture: Picture) -> str:
        """The caption, where it can be read."""
        if not picture.readable:
            return ""
        return f'data-lw-base="{self.session.base(picture)}" data-lw-caption="{text(plain_lines(picture.text))}"'

    def _url(self, thumbnails: Thumbnails, picture: Picture) -> str:
        try:
            return self.files.url(thumbnails.path(picture))
        except BadFile:
            return ""


def change_view(change: Change | None, figures: str = "") -> str:
    """The dry run: counts, pictures (``figures``), a few examples, and what is left out."""
    if change is None:
        return ""
    counts = "".join(f"<span>{text(name)} <b>{count:,}</b></span>" for name, count in change.counts.items())
    made = {operation.path for operation in change.operations if isinstance(operation, Make)}
    rows = "".join(
        f'<li><b class="lw-ds-text">{file_name(e.path.name)}</b>'
        f'{_before(e.before, e.path in made)}<span class="lw-ds-text">{letters(e.after)}</span></li>'
        for e in change.examples[:SHOWN_EXAMPLES]
    )
    examples = f'<ul class="lw-ds-examples">{rows}</ul>' if rows else ""
    notes = "".join(html.message(note, html.WARNING) for note in change.notes)
    return (
        f'<div class="lw-panel" id="lw_ds_dry_run"><b>{text(change.title)}</b> '
        f'<span class="lw-quiet">– nothing has been changed yet</span><div class="lw-chips">{counts}</div>'
        f"{figures}{examples}{notes}</div>"
    )


def _before(before: str, made: bool) -> str:
    """What a file said, struck out; what a picture is made of (``made``) stays as it is."""
    shown = letters(before) if made else f"<del>{letters(before)}</del>"
    return f'<span class="lw-ds-text lw-quiet">{shown}</span>' if before else ""


def history_view(entries: Sequence[Entry]) -> str:
    """Changes, newest first; those taken back are struck out."""
    if not entries:
        return html.hint("Every change will be listed here, and can be undone.")
    rows = []
    for entry in list(reversed(entries))[:SHOWN_ENTRIES]:
        title = f"<del>{text(entry.title)}</del> (undone)" if entry.state == "undone" else text(entry.title)
        rows.append(f"<tr><td>{entry.number}</td><td>{title}</td><td>{html.plural(entry.files, 'file')}</td></tr>")
    return f'<div class="lw-scroll"><table class="lw-table">{"".join(rows)}</table></div>'


def link(label: str, verb: str, value: str = "") -> str:
    """A button in running text."""
    return f'<button class="lw-link" data-lw-do="{verb}:{text(value)}">{text(label)}</button>'


def facts(pairs: Iterable[tuple[str, object]]) -> str:
    """Names above values, side by side."""
    items = "".join(f"<div><dt>{text(name)}</dt><dd>{text(value)}</dd></div>" for name, value in pairs)
    return f'<dl class="lw-facts">{items}</dl>'


def shown_path(path: Path, root: Path) -> str:
    """Relative to the opened folder where it is inside."""
    return path.relative_to(root).as_posix() if path.is_relative_to(root) and path != root else path.name


def _title(picture: Picture) -> str:
    return f"{picture.path.name} · {picture.size[0]}×{picture.size[1]} · {picture.text}"


def _image(url: str, picture: Picture) -> str:
    if not url:
        return '<i class="lw-quiet">cannot be read</i>'
    return f'<img src="{escape(url)}" alt="{text(picture.path.name)}" loading="lazy">'
