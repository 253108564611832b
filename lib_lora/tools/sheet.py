"""Contact sheets: pictures in rows and columns under headings."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

PAPER, INK, EMPTY = (255, 255, 255), (32, 32, 40), (232, 232, 236)
GAP = 4  # pixels between pictures


@dataclass(frozen=True)
class Sheet:
    """A table of pictures.

    Args:
        pictures: rows of pictures; None leaves a place empty. All rows are equally long.
        columns: a heading for each column.
        rows: a heading for each row; may be empty.
        title: above everything, wrapped to the width of the table.
    """

    pictures: Sequence[Sequence[Image.Image | None]]
    columns: Sequence[str]
    rows: Sequence[str] = ()
    title: str = ""

    def draw(self) -> Image.Image:
        """The sheet as one RGB picture; places are as large as the largest picture.

        Raises:
            ValueError: there is no picture at all.
        """
        present = [picture for row in self.pictures for picture in row if picture is not None]
        if not present:
            raise ValueError("a sheet needs at least one picture")
        width, height = (max(sizes) for sizes in zip(*(picture.size for picture in present), strict=True))
        text = _Text(max(11, min(28, height // 10)))
        left = max((text.width(row) for row in self.rows), default=0) + 3 * GAP
        table = left + len(self.columns) * (width + GAP)
        lines = text.wrapped(self.title, table - 2 * GAP)
        top = (len(lines) + 1) * text.line + 2 * GAP
        page = Image.new("RGB", (table, top + len(self.pictures) * (height + GAP)), PAPER)
        draw = ImageDraw.Draw(page)
        for i, line in enumerate(lines):
            text.write(draw, GAP, GAP + i * text.line, line)
        for x, heading in enumerate(self.columns):
            middle = left + x * (width + GAP) + (width - text.width(heading)) // 2
            text.write(draw, middle, top - text.line, heading)
        for y, row in enumerate(self.pictures):
            if self.rows:
                text.write(draw, GAP, top + y * (height + GAP) + (height - text.line) // 2, self.rows[y])
            for x, picture in enumerate(row):
                place = (left + x * (width + GAP), top + y * (height + GAP))
                if picture is None:
                    draw.rectangle((*place, place[0] + width - 1, place[1] + height - 1), fill=EMPTY)
                else:
                    page.paste(picture, place)
        return page


def stacked(pages: Sequence[Image.Image]) -> Image.Image:
    """Sheets one below the other."""
    whole = Image.new("RGB", (max(p.width for p in pages), sum(p.height for p in pages)), PAPER)
    y = 0
    for page in pages:
        whole.paste(page, (0, y))
        y += page.height
    return whole


def captioned(page: Image.Image, words: str) -> Image.Image:
    """A sheet with ``words`` below it, in as many lines as they need."""
    text = _Text(max(11, min(28, page.width // 60)))
    lines = text.wrapped(words, page.width - 4 * GAP)
    whole = Image.new("RGB", (page.width, page.height + len(lines) * text.line + 4 * GAP), PAPER)
    whole.paste(page, (0, 0))
    draw = ImageDraw.Draw(whole)
    for i, line in enumerate(lines):
        text.write(draw, 2 * GAP, page.height + 2 * GAP + i * text.line, line)
    return whole


class _Text:
    """Headings of one size. Pillow before 10.1 has one small bitmap font, which knows Latin letters only."""

    def __init__(self, size: int):
        try:
            self.font = ImageFont.load_default(size=size)
            self.scalable = True
        except TypeError:
            self.font = ImageFont.load_default()
            self.scalable = False
        self.line = self._box("Ag")[1] + GAP

    def width(self, text: str) -> int:
        return self._box(text)[0]

    def write(self, draw: ImageDraw.ImageDraw, x: int, y: int, text: str) -> None:
        draw.text((x, y), self._known(text), fill=INK, font=self.font)

    def wrapped(self, text: str, width: int) -> list[str]:
        """``text`` in lines of at most ``width`` pixels, as far as its words allow."""
        if not text:
            return []
        letters = max(8, int(len(text) * width / max(1, self.width(text))))
        return textwrap.wrap(text, letters)

    def _box(self, text: str) -> tuple[int, int]:
        _, _, right, bottom = self.font.getbbox(self._known(text))
        return int(right), int(bottom)

    def _known(self, text: str) -> str:
        return text if self.scalable else text.encode("latin-1", "replace").decode("latin-1")
