"""Pictures of a plan: what it would make, beside what it makes it from."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path

from PIL import Image

from lib_lora.dataset.collection.change import Change, Make, Move
from lib_lora.dataset.collection.opening import MASK_ENDING
from lib_lora.dataset.collection.picture import Picture
from lib_lora.errors import UserError
from lib_lora.tools.card_files import data_url
from lib_lora.ui import html
from lib_lora.ui.dataset.views import Album, text

SHOWN = 4  # pairs
SIDE = 320  # px, of what is shown


class PlanPictures:
    """Makes the first pictures of a plan, for a look; a plan is asked for often, and made once."""

    def __init__(self, album: Album):
        self.album = album
        self._drawn: tuple[Change | None, str] = (None, "")

    def draw(self, change: Change, pictures: Sequence[Picture]) -> str:
        """Pairs of pictures, before and after; one that is made of several stands alone. Empty where there is none."""
        if self._drawn[0] is not change:
            found = [pair for pair in _made(change, pictures) if pair[0].quick][:SHOWN]
            self._drawn = (change, "".join(self._pair(*pair) for pair in found))
        return f'<div class="lw-ds-pairs">{self._drawn[1]}</div>' if self._drawn[1] else ""

    def _pair(self, make: Make, picture: Picture | None) -> str:
        try:
            after, size = _look_at(make)
        except (UserError, OSError, ValueError) as error:
            return html.message(f"{make.path.name}: {error}", html.WARNING)
        before = self.album.urls([picture])[0] if picture else ""
        names = f"{picture.path.stem} {picture.size[0]}×{picture.size[1]} → " if picture else ""
        names += f"{make.path.stem} {size[0]}×{size[1]}"
        images = "".join(
            f'<img src="{escape(url)}" alt="{said}" {html.ZOOMS}>'
            for url, said in ((before, "before"), (after, "after"))
            if url
        )
        css = "" if picture else ' class="lw-alone"'
        said = f'<figcaption translate="no">{text(names)}</figcaption>'
        return f"<figure data-lw-loupe{css}><div>{images}</div>{said}</figure>"


def _made(change: Change, pictures: Sequence[Picture]) -> Iterator[tuple[Make, Picture | None]]:
    """What would be made, without masks, each with the picture that it is named after, if there is one.

    A picture of the same name that is set aside before is not what it is made from.
    """
    going = {operation.source for operation in change.operations if isinstance(operation, Move)}
    by_folder: dict[Path, list[Picture]] = {}
    for picture in pictures:
        by_folder.setdefault(picture.path.parent, []).append(picture)
    for make in change.operations:
        if not isinstance(make, Make) or make.path.stem.endswith(MASK_ENDING):
            continue
        near = (one for one in by_folder.get(make.path.parent, ()) if one.path != make.path or one.path not in going)
        named = [one for one in near if make.path.stem.startswith(one.path.stem)]
        yield make, max(named, key=lambda one: len(one.path.stem), default=None)


def _look_at(make: Make) -> tuple[str, tuple[int, int]]:
    """The picture as data, small, and its full size."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / make.path.name
        make.make(path)
        with Image.open(path) as image:
            size = image.size
            small = image.convert("RGB")
    small.thumbnail((SIDE, SIDE))
    return data_url(small), size
