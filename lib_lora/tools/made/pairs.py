"""Pairs of pictures before and after, from two columns of a grid."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lib_lora.errors import UserError
from lib_lora.files import atomic_write, write_text
from lib_lora.tools.grid import read_grid


@dataclass(frozen=True)
class GridColumns:
    """Two columns of the grid in ``folder``; each row of them is a pair."""

    folder: Path
    before: str
    after: str

    def pairs(self) -> list[tuple[Path, Path, str]]:
        """(before, after, prompt) of each row whose pictures are there.

        Raises:
            UserError: there is no such grid or column, or no row has both.
        """
        grid = read_grid(self.folder)
        found = []
        for table in grid.get("tables", []):
            names = [columns_of(table).index(name) for name in (self.before, self.after) if name in columns_of(table)]
            for row in table["cells"] if len(names) == 2 else ():
                one, other = (grid["cells"][row[column]] for column in names)
                paths = [self.folder / cell["image"] for cell in (one, other)]
                if all(path.is_file() for path in paths):
                    found.append((paths[0], paths[1], one["prompt"]))
        if self.before == self.after or not found:
            known = ", ".join(grid_columns(grid)) or "none"
            what = "These two columns have no pictures side by side"
            raise UserError(what, where="Columns of the grid", fix=f"The grid has the columns {known}")
        return found

    def write(self, folder: Path) -> tuple[Path, Path]:
        """Copies of the pairs in ``folder``, which gets ``before`` with captions and ``after``; those two."""
        before, after = folder / "before", folder / "after"
        for number, (one, other, prompt) in enumerate(self.pairs(), start=1):
            for source, target in ((one, before / f"{number:04}.png"), (other, after / f"{number:04}.png")):
                if not target.exists():
                    with atomic_write(target) as part:
                        shutil.copyfile(source, part)
            write_text(before / f"{number:04}.txt", prompt)
        return before, after


def grid_columns(grid: Mapping[str, Any]) -> list[str]:
    """The headings of all columns, each once."""
    return list(dict.fromkeys(name for table in grid.get("tables", []) for name in columns_of(table)))


def columns_of(table: Mapping[str, Any]) -> Sequence[str]:
    """The headings of a table's columns."""
    columns: Sequence[str] = table["columns"]
    return columns
