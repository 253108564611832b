"""Choosing a folder of the machine that the program runs on, without leaving what the caller may see."""

from __future__ import annotations

import math
import os
import string
import time
from collections.abc import Callable, Iterable, Sequence
from html import escape
from itertools import islice
from pathlib import Path
from typing import Any

import gradio as gr

from lib_lora.access import looks, permits
from lib_lora.dataset.oddities import IMAGE_EXTENSIONS
from lib_lora.errors import UserError
from lib_lora.ui import html
from lib_lora.ui.actions import act, panel
from lib_lora.ui.compat import SKIP, listen
from lib_lora.ui.glances import GLANCES, first_pictures
from lib_lora.workbench import Workbench

SHOWN = 300  # folders
COUNTED = 5000  # entries looked at for the number of images
COUNTING = 0.3  # s for all folders of a list; those that are left say no number
PICTURES = 6  # of the folder that is looked into
GONE = 'onerror="this.remove()"'  # of a picture that cannot be shown
USED_BEFORE = 30  # runs whose folders are known


class Folders:
    """Folders that may be looked into: ``roots`` and what is below them; links that lead out are not followed."""

    def __init__(self, roots: Iterable[Path]):
        self.roots = list(dict.fromkeys(root.resolve() for root in roots if root.is_dir()))

    def allowed(self, path: Path) -> bool:
        """Whether it may be shown: below one of the roots, and within what paths are confined to."""
        path = path.resolve()
        return permits(path) and any(root == path or root in path.parents for root in self.roots)

    def below(self, path: Path) -> list[Path]:
        """The visible folders in ``path``, by name.

        Raises:
            UserError: the path is no folder, cannot be read, or is not allowed.
        """
        if not self.allowed(path):
            raise UserError("This folder is outside of the places that can be browsed", where=path, fix="Type its path")
        try:
            found = [entry for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith(".")]
        except OSError as error:
            raise UserError(f"This folder cannot be read ({error.strerror})", where=path) from error
        return sorted((entry for entry in found if self.allowed(entry)), key=lambda entry: entry.name.casefold())

    def nearest(self, text: str) -> Path | None:
        """The allowed folder that is ``text``, or the closest one above it."""
        path = Path(text.strip() or ".")
        return next((p for p in (path, *path.parents) if text.strip() and self.allowed(p) and p.is_dir()), None)


class FolderPicker:
    """A list of folders under a field; a click goes into one, a button takes it.

    Args:
        prefix: of the element ids.
        several: the field has a folder a line, and a folder that is taken becomes another line.
    """

    def __init__(self, folders: Callable[[], Folders], prefix: str = "lw_browse", *, several: bool = False):
        self.folders = folders
        self.prefix = prefix
        self.several = several

    def build_button(self) -> None:
        """The button, beside the field."""
        self.button = gr.Button("Browse …", elem_id=self.prefix, size="sm", scale=0, min_width=96)

    def build_list(self) -> None:
        """The list, which is empty until it is asked for."""
        self.list = panel(f"{self.prefix}_list")
        self.pick = gr.Textbox("", label="Chosen folder", elem_id=f"{self.prefix}_pick", elem_classes=["lw-hidden"])

    def connect(self, field: Any) -> Any:
        """``field``: the textbox that gets the path. Returns the event that gives it."""
        act(self.button.click, self.open, [field], self.list)
        return listen(self.pick.change, self.follow, [self.pick, field], [self.list, field])

    @looks
    def open(self, text: str) -> str:
        """The list at the folder of the field, of several the last, else all roots."""
        return self._listing(self.folders().nearest((text or "").strip().rpartition("\n")[2]))

    @looks
    def follow(self, pick: str, text: str = "") -> list[Any]:
        """``go:PATH``, ``use:PATH`` or ``close:``, followed by the time of the click; ``text`` is in the field."""
        action, _, rest = pick.rpartition("|")[0].partition(":")
        if action == "use":
            before = [line for line in (text or "").splitlines() if line.strip()] if self.several else []
            return ["", "\n".join(dict.fromkeys([*before, rest]))]
        if action != "go":
            return ["", SKIP]
        try:
            return [self._listing(Path(rest) if rest else None), SKIP]
        except UserError as error:
            return [html.error_message(error), SKIP]

    def _listing(self, path: Path | None) -> str:
        folders = self.folders()
        children = folders.below(path) if path else list(filter(permits, folders.roots))
        if path is None:
            head = '<span class="lw-quiet">Choose where to look</span>'
        else:
            up = path.parent if folders.allowed(path.parent) else None
            head = self._button("↑ Up", f"go:{up or ''}", "lw-up")
            head += f"<b>{escape(str(path))}</b>{_images(path)}"
            head += self._button("Use this folder", f"use:{path}", "lw-use")
        head += self._button("Close", "close:", "lw-close")
        until = time.monotonic() + COUNTING
        rows = "".join(
            f"<li>{_glance(child)}{self._button(child.name if path else str(child), f'go:{child}', 'lw-go')}"
            f"{_images(child, until)}</li>"
            for child in children[:SHOWN]
        )
        more = f'<li class="lw-quiet">and {len(children) - SHOWN} more</li>' if len(children) > SHOWN else ""
        empty = '<li class="lw-quiet">There are no folders in here.</li>' if not children else ""
        head = f'<div class="lw-browse-head">{head}</div>{_thumbnails(path) if path else ""}'
        return f'<div class="lw-panel lw-browse">{head}<ul>{rows}{more}{empty}</ul></div>'

    def _button(self, text: str, value: str, css: str) -> str:
        return html.pick_button(text, f"{self.prefix}_pick", value, css)


def places_of(workbench: Workbench) -> Folders:
    """Where pictures for training are likely to be."""
    runs = islice(workbench.runs.with_config(), USED_BEFORE)
    return usual_places([workbench.host.paths.data], (config.data_dir for _, config in runs))


def usual_places(own: Sequence[Path], used: Iterable[str]) -> Folders:
    """The user's home, the program's folders, what lies beside the folders that were trained on before, and all drives:
    whoever may name any path can also look for it. A caller whose paths are confined sees what lies within those."""
    before = [Path(text).parent for text in used if text.strip()]
    return Folders([*own, Path.home(), *(path for path in before if path != path.parent), *_drives()])


def _drives() -> list[Path]:
    """The tops of all drives; on Linux and macOS the one root."""
    if os.name != "nt":
        return [Path("/")]
    return [Path(f"{letter}:\\") for letter in string.ascii_uppercase if os.path.exists(f"{letter}:\\")]


def _thumbnails(folder: Path) -> str:
    """The first pictures of the folder that is looked into, small; nothing where there are none."""
    try:
        files = first_pictures(folder, PICTURES)
    except OSError:
        return ""
    shown = (f'<img src="{GLANCES.url(path)}" alt="{escape(path.name)}" {GONE}>' for path in files)
    return f'<div class="lw-browse-pictures">{"".join(shown)}</div>' if files else ""


def _glance(folder: Path) -> str:
    """A place for the first picture of a folder, which stays empty where there is none."""
    return f'<span class="lw-glance"><img src="{GLANCES.url(folder)}" alt="" loading="lazy" {GONE}></span>'


def _images(path: Path, until: float = math.inf) -> str:
    """How many there are; nothing where that takes longer than ``until``."""
    count = 0
    try:
        with os.scandir(path) as entries:
            for entry in islice(entries, COUNTED):
                count += os.path.splitext(entry.name)[1].lower() in IMAGE_EXTENSIONS
                if time.monotonic() > until:
                    return ""
    except OSError:
        return ""
    return f' <span class="lw-quiet">{html.plural(count, "image")}</span>' if count else ""
