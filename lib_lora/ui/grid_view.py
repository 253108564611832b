"""The grid as HTML: tables of pictures that are there, and places for those to come."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from lib_lora.tools.grid import SHEET
from lib_lora.tools.likeness import FileLikeness
from lib_lora.tools.picks import Pick, Picks, spoken
from lib_lora.ui import html
from lib_lora.ui.files import Pictures
from lib_lora.ui.influence_panel import why_button
from lib_lora.workbench import EpochFile

RISE = 1.02  # times the lowest fixed-noise loss: more is no noise
MANY_COPIES = 0.5  # of a file's pictures


@dataclass(frozen=True)
class Badge:
    """A hint at a heading; ``why`` is shown by the pointer."""

    text: str
    why: str


def badges(epochs: Sequence[EpochFile], likeness: Mapping[str, FileLikeness]) -> dict[str, list[Badge]]:
    """Heading of a file -> what the figures suggest about it. Hints, no decisions."""
    found: dict[str, list[Badge]] = {}
    best = next((e for e in epochs if e.best), None)
    if best is not None:
        found[f"e{best.epoch}"] = [Badge("● lowest loss", "Lowest loss on fixed noise and timesteps")]
        for e in epochs:
            if e.epoch > best.epoch and e.fixed_loss is not None and e.fixed_loss > RISE * best.fixed_loss:
                why = (
                    f"Its fixed-noise loss is {e.fixed_loss / best.fixed_loss - 1:.0%} above that of epoch {best.epoch}"
                )
                found.setdefault(f"e{e.epoch}", []).append(Badge("⚠ loss rises", why))
    if len(likeness) > 1:
        nearest = max(likeness, key=lambda label: likeness[label].mean)
        why = f"Colours and composition: likeness {likeness[nearest].mean:.2f} to the nearest training picture"
        found.setdefault(nearest, []).append(Badge("◆ most like the set", why))
    for label, like in likeness.items():
        if like.copies >= MANY_COPIES:
            why = f"{like.copies:.0%} of its pictures are nearer to a training picture than those are to each other"
            found.setdefault(label, []).append(Badge("⚠ maybe over-fit", why))
    return found


def parse_pick(text: str) -> Pick:
    """``"e4:0.8:GP1|time"``, as a click on a cell says it."""
    file, weight, blocks = text.rpartition("|")[0].rsplit(":", 2)
    return Pick(file, float(weight), blocks)


@dataclass(frozen=True)
class GridView:
    """Draws one grid.

    Args:
        grid: content of ``grid.json``.
        folder: where it is.
        badges: of its files.
        picks: stars and the chosen cell.
        explained: whether it can be asked which training pictures made a picture as it is.
    """

    grid: dict[str, Any]
    folder: Path
    badges: Mapping[str, Sequence[Badge]]
    picks: Picks
    pictures: Pictures
    explained: bool = False

    def render(self) -> str:
        """All tables, and below them what the user should know of the files."""
        size = self.grid["settings"]
        tables = "".join(self._table(table) for table in self.grid["tables"])
        remarks = "".join(html.message(remark, html.WARNING) for remark in self.grid.get("remarks", []))
        columns = max((len(table["columns"]) for table in self.grid["tables"]), default=1)
        style = f"--lw-ratio: {size['width']} / {size['height']}; --lw-columns: {columns}"
        return f'<div style="{style}">{tables}</div>{remarks}{self._sheet()}'

    def _sheet(self) -> str:
        """A link to the whole grid as one picture, with its settings in words; nothing before it is complete."""
        path = self.folder / SHEET
        if not path.is_file() or any(self._file(cell) is None for cell in self.grid["cells"]):
            return ""
        return f'<a class="lw-pick" href="{self.pictures.url(path)}" target="_blank" download>Contact sheet ↓</a>'

    def pictures_of(self, pick: Pick) -> str:
        """A cell for every prompt and seed, to be enlarged."""
        shown = []
        for cell in self.grid["cells"]:
            if _pick(cell) == pick and (path := self._file(cell)):
                picture = html.picture(self.pictures.url(path), f"{cell['prompt']}, seed {cell['seed']}")
                shown.append(f"<div>{picture}{why_button(cell['image']) if self.explained else ''}</div>")
        return f'<div class="lw-strip">{"".join(shown)}</div>' if shown else ""

    def starred(self) -> str:
        """The first picture of each cell with a star, side by side."""
        shown = []
        for pick in self.picks.stars:
            files = [self._file(cell) for cell in self.grid["cells"] if _pick(cell) == pick]
            if path := next(filter(None, files), None):
                shown.append(html.picture(self.pictures.url(path), str(pick), badge="★"))
        return f'<p class="lw-prompt">★ Starred</p><div class="lw-strip">{"".join(shown)}</div>' if shown else ""

    def _table(self, table: dict[str, Any]) -> str:
        head = "".join(f'<th scope="col">{self._heading(text, "columns")}</th>' for text in table["columns"])
        rows = "".join(
            f'<tr><th scope="row">{self._heading(text, "rows")}</th>'
            + "".join(f"<td>{self._cell(self.grid['cells'][number])}</td>" for number in numbers)
            + "</tr>"
            for text, numbers in zip(table["rows"], table["cells"], strict=True)
        )
        title = f'<p class="lw-prompt">{escape(table["title"])}</p>'
        return f'{title}<div class="lw-scroll"><table class="lw-grid"><tr><td></td>{head}</tr>{rows}</table></div>'

    def _heading(self, text: str, side: str) -> str:
        if self.grid[side] != "file":
            return escape(text)
        hints = "".join(
            f'<small title="{escape(badge.why)}">{escape(badge.text)}</small>' for badge in self.badges.get(text, ())
        )
        return escape(spoken(text)) + (hints or "<small>&nbsp;</small>")

    def _cell(self, cell: dict[str, Any]) -> str:
        path = self._file(cell)
        if path is None:
            return '<span class="lw-cell lw-empty"></span>'
        here = _pick(cell)
        key = escape(f"{here.file}:{here.weight!r}:{here.blocks}")
        chosen, starred = here == self.picks.chosen, here in self.picks.stars
        name, css = escape(str(here)), "lw-cell lw-chosen" if chosen else "lw-cell"
        pressed = str(chosen).lower()
        image = f'<img src="{self.pictures.url(path)}" alt="{name}" loading="lazy">'
        mark = '<span class="lw-badge">chosen</span>' if chosen else ""
        return (
            f'<div class="lw-cell-box"><button type="button" class="{css}" '
            f'data-lw-cell="{key}" aria-pressed="{pressed}" aria-label="Choose {name}">{image}{mark}</button>'
            f'<button type="button" class="lw-star" data-lw-star="{key}" aria-pressed="{str(starred).lower()}" '
            f'aria-label="Star {name}">{"★" if starred else "☆"}</button></div>'
        )

    def _file(self, cell: dict[str, Any]) -> Path | None:
        path = self.folder / cell["image"]
        return path if path.is_file() else None


def _pick(cell: dict[str, Any]) -> Pick:
    return Pick(cell["file"], cell["weight"], cell["blocks"])
