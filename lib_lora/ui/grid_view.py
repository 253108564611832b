"""The epoch grid as HTML: a table for each prompt and seed, pictures that are there, places for those to come."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from lib_lora.ui import html
from lib_lora.ui.files import Pictures
from lib_lora.workbench import EpochFile

FOLDER = "grid"  # below a run's


@dataclass(frozen=True)
class Chosen:
    """An epoch and a weight."""

    epoch: int
    weight: float

    def __str__(self) -> str:
        return f"epoch {self.epoch} at {self.weight:g}"


def read_grid(folder: Path) -> dict[str, Any]:
    """``grid.json`` of a grid; empty if there is none yet."""
    try:
        return json.loads((folder / "grid.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}


def parse_pick(text: str) -> Chosen:
    """``"e4:0.8|time"``, as a click on a cell says it."""
    label, _, weight = text.partition("|")[0].partition(":")
    return Chosen(int(label[1:]), float(weight))


@dataclass(frozen=True)
class GridView:
    """Draws one grid.

    Args:
        grid: content of ``grid.json``.
        folder: where it is.
        epochs: of the run, for the badges.
        chosen: the cell with the star.
    """

    grid: dict[str, Any]
    folder: Path
    epochs: Sequence[EpochFile]
    chosen: Chosen | None
    pictures: Pictures

    def render(self) -> str:
        """All tables."""
        tables = [self._table(prompt, seed) for prompt in self.grid["prompts"] for seed in self.grid["seeds"]]
        size = self.grid["settings"]
        return f'<div style="--lw-ratio: {size["width"]} / {size["height"]}">{"".join(tables)}</div>'

    def chosen_pictures(self) -> str:
        """The chosen cell for every prompt and seed, to be enlarged."""
        if self.chosen is None:
            return ""
        cells = [
            c for c in self._cells() if (int(c["file"][1:]), c["weight"]) == (self.chosen.epoch, self.chosen.weight)
        ]
        shown = [
            html.picture(self.pictures.url(p), f"{c['prompt']}, seed {c['seed']}")
            for c in cells
            if (p := self._file(c))
        ]
        return f'<div class="lw-strip">{"".join(shown)}</div>' if shown else ""

    def _table(self, prompt: str, seed: int) -> str:
        cells = {(c["file"], c["weight"]): c for c in self._cells() if (c["prompt"], c["seed"]) == (prompt, seed)}
        labels = [file["label"] for file in self.grid["files"]]
        head = "".join(f'<th scope="col">{self._heading(label)}</th>' for label in labels)
        rows = "".join(
            f'<tr><th scope="row">{weight:g}</th>'
            + "".join(f"<td>{self._cell(cells[label, weight])}</td>" for label in labels)
            + "</tr>"
            for weight in sorted(self.grid["weights"], reverse=True)
        )
        title = f'<p class="lw-prompt">{escape(prompt)} <span class="lw-quiet">seed {seed}</span></p>'
        return f'{title}<div class="lw-scroll"><table class="lw-grid"><tr><td></td>{head}</tr>{rows}</table></div>'

    def _heading(self, label: str) -> str:
        best = any(e.best and f"e{e.epoch}" == label for e in self.epochs)
        note = "<small>● lowest loss</small>" if best else "<small>&nbsp;</small>"
        return f"epoch {escape(label[1:])}{note}"

    def _cell(self, cell: dict[str, Any]) -> str:
        path = self._file(cell)
        if path is None:
            return '<span class="lw-cell lw-empty"></span>'
        here = Chosen(int(cell["file"][1:]), cell["weight"])
        star = '<span class="lw-badge">★</span>' if here == self.chosen else ""
        css, pressed = ("lw-cell lw-chosen", "true") if star else ("lw-cell", "false")
        image = f'<img src="{self.pictures.url(path)}" alt="{here}" loading="lazy">'
        return (
            f'<button type="button" class="{css}" data-lw-cell="e{here.epoch}:{here.weight!r}" '
            f'aria-pressed="{pressed}" aria-label="Choose {here}">{image}{star}</button>'
        )

    def _cells(self) -> list[dict[str, Any]]:
        return self.grid["cells"]

    def _file(self, cell: dict[str, Any]) -> Path | None:
        path = self.folder / cell["image"]
        return path if path.is_file() else None
