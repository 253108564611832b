"""What the user thinks of a grid: the cells with a star, and the one that is chosen."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from lib_lora.files import turn, write_text
from lib_lora.small_files import record, set_aside, tolerated

RECORD = "picks.json"
_OF_RUN = re.compile(r"([es])(\d+)")


def spoken(label: str) -> str:
    """The heading of a file in words: ``e4`` is epoch 4, ``s500`` step 500, any other is a name."""
    match = _OF_RUN.fullmatch(label)
    return f"{'epoch' if match[1] == 'e' else 'step'} {match[2]}" if match else label


@dataclass(frozen=True)
class Pick:
    """A LoRA file, a weight and block weights, by their headings; prompt and seed do not matter."""

    file: str
    weight: float
    blocks: str = ""

    def __str__(self) -> str:
        return f"{spoken(self.file)} at {self.weight:g}" + (f" with blocks {self.blocks}" if self.blocks else "")

    @property
    def of_run(self) -> bool:
        """Whether it is one that a run saved, by epoch or step."""
        return _OF_RUN.fullmatch(self.file) is not None

    @property
    def epoch(self) -> int | None:
        """Of a run; None where the file is not one of its epochs."""
        number = self.file.removeprefix("e")
        return int(number) if number != self.file and number.isdigit() else None


@dataclass(frozen=True)
class Picks:
    """The stars in the order in which they were given, and the chosen cell."""

    stars: tuple[Pick, ...] = ()
    chosen: Pick | None = None

    def starred(self, pick: Pick) -> Picks:
        """With a star more, or without the one that was there."""
        rest = tuple(star for star in self.stars if star != pick)
        return Picks(rest if pick in self.stars else (*rest, pick), self.chosen)


def read_picks(folder: Path) -> Picks:
    """The picks of the grid in ``folder``."""
    return tolerated(folder / RECORD, _picks, Picks())


def _picks(content: Any) -> Picks:
    chosen = content["chosen"]
    stars = tuple(record(Pick, star) for star in content["stars"])
    return Picks(stars, record(Pick, chosen) if chosen else None)


def give_star(folder: Path, pick: Pick) -> None:
    """Give a cell of the grid in ``folder`` a star, or take it away."""
    with turn(folder / RECORD):
        write_picks(folder, read_picks(folder).starred(pick))


def choose(folder: Path, pick: Pick) -> None:
    """Make it the chosen cell of the grid in ``folder``; the stars stay."""
    with turn(folder / RECORD):
        write_picks(folder, replace(read_picks(folder), chosen=pick))


def write_picks(folder: Path, picks: Picks) -> None:
    """Remember them beside the grid."""
    set_aside(folder / RECORD, _picks)
    content = {"stars": [asdict(star) for star in picks.stars], "chosen": picks.chosen and asdict(picks.chosen)}
    write_text(folder / RECORD, json.dumps(content, indent=1, ensure_ascii=False))
