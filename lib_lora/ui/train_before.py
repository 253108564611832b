"""What Train shows beside the form before it has trained anything: the last run of the set, else the set's pictures."""

from __future__ import annotations

import os
from collections.abc import Iterator
from html import escape
from itertools import islice
from pathlib import Path

from lib_lora.access import permits
from lib_lora.dataset.collection.picture import Picture
from lib_lora.dataset.collection.thumbnails import Thumbnails
from lib_lora.dataset.images import read_header
from lib_lora.dataset.oddities import IMAGE_EXTENSIONS
from lib_lora.dataset.problems import BadFile
from lib_lora.dataset.scan import without_masks
from lib_lora.training.config import TrainConfig
from lib_lora.training.run import Run
from lib_lora.ui import html
from lib_lora.ui.files import Pictures
from lib_lora.ui.poll import Watched
from lib_lora.workbench import Workbench

EMPTY = "The loss curve and the sample images will appear here while it trains. It begins with pictures."
READY = "The loss curve and the sample images will appear here while it trains."
SHOWN = 12  # pictures of the set
COUNTED = 20_000  # files, at most
OPENED = 300  # files of which it is looked whether they are pictures: a disk at rest may take 10 ms for each


class Before:
    """Looks at the folder that is in the form, and at the runs on the disk."""

    def __init__(self, workbench: Workbench, pictures: Pictures):
        self.pictures = pictures
        self._thumbnails = Thumbnails(workbench.host.paths.places.dataset / "train")
        self._runs = Watched(lambda: list(workbench.runs.with_config()), workbench.host.paths.runs)
        self._known: tuple[tuple[str, int], str] = (("", 0), "")  # folder and its time, what is shown of it

    def last_run(self, folder: str) -> tuple[Run, TrainConfig] | None:
        """The newest one that has begun; with ``folder``, of that set alone."""
        wanted = _path(folder)
        found = (pair for pair in self._runs() if wanted is None or Path(pair[1].data_dir) == wanted)
        return next((pair for pair in found if pair[0].has_begun), None)

    def view(self, folder: str) -> str:
        """Some pictures of the set; how to begin where there is none."""
        path = _path(folder)
        if path is None or not permits(path) or not path.is_dir():
            return html.hint(EMPTY, "Open a set of pictures", "Dataset")
        key = str(path), path.stat().st_mtime_ns
        if self._known[0] != key:
            self._known = (key, self._set(path))
        return self._known[1]

    def _set(self, folder: Path) -> str:
        found = sorted(islice(_images(folder), COUNTED))
        found = [*filter(_is_picture, found[:OPENED]), *found[OPENED:]]
        if not found:
            return html.hint(EMPTY, "Open a set of pictures", "Dataset")
        some = found[:: -(-len(found) // SHOWN)]
        cells = "".join(f'<img src="{escape(url)}" alt="" loading="lazy">' for url in map(self._url, some) if url)
        head = f"<p><b>{escape(folder.name)}</b><span>{html.plural(len(found), 'image')}</span></p>"
        return f'<div class="lw-where">{head}<div class="lw-some">{cells}</div><p><span>{READY}</span></p></div>'

    def _url(self, path: Path) -> str:
        try:
            state = path.stat()
            picture = Picture(path, (0, 0), state.st_size, state.st_mtime_ns, path.parent)
            return self.pictures.url(self._thumbnails.path(picture))
        except (BadFile, OSError):
            return ""


def _path(folder: str) -> Path | None:
    text = (folder or "").strip().strip('"')
    return Path(text).expanduser() if text else None


def _is_picture(path: Path) -> bool:
    """Whether it can be trained; a broken file has the name of one."""
    try:
        return not read_header(path).animated
    except (BadFile, OSError):
        return False


def _images(folder: Path) -> Iterator[Path]:
    """Those below ``folder``; hidden folders and masks are left out."""
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        files = map(Path(place).joinpath, names)
        yield from without_masks([file for file in files if file.suffix.lower() in IMAGE_EXTENSIONS])[0]
