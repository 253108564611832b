"""What a grid compares: the product of five dimensions, two of which are laid out and the others give tables."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any

from lib_lora.models.base import GenerationRequest

from .. import bounds
from ..errors import UserError

# Name of a dimension, as in a Cell -> field of GridSpec that holds its values; in the order of generation
DIMENSIONS = {"file": "files", "blocks": "blocks", "prompt": "prompts", "seed": "seeds", "weight": "weights"}
MOST_CELLS = 1000


@dataclass(frozen=True)
class Candidate:
    """A LoRA file and its heading in the grid, for example the epoch."""

    label: str
    path: Path


@dataclass(frozen=True)
class BlockChoice:
    """Block weights and their heading: a preset's name and its numbers; empty ``weights`` leave all blocks at 1."""

    label: str = ""
    weights: str = ""


@dataclass(frozen=True)
class Cell:
    """One picture of a grid."""

    file: Candidate
    weight: float
    prompt: str
    seed: int
    blocks: BlockChoice = BlockChoice()

    def request(self, settings: GenerationRequest) -> GenerationRequest:
        """How to generate it, with the file's network attached."""
        return replace(settings, prompt=self.prompt, seed=self.seed, weights=(self.weight,))


@dataclass(frozen=True)
class Table:
    """One table of a grid: ``cells`` row by row, with what is the same in all of them as ``title``."""

    title: str
    columns: list[str]
    rows: list[str]
    cells: list[list[Cell]]


@dataclass(frozen=True)
class GridSpec:
    """What to compare.

    Args:
        files, weights, prompts, seeds, blocks: the dimensions.
        settings: size, steps, sampler and all else; its prompt, seed and weights do not count.
        columns, rows: the dimensions from left to right and from top to bottom; each combination of the others is a
            table of its own.
    """

    files: tuple[Candidate, ...]
    weights: tuple[float, ...]
    prompts: tuple[str, ...]
    seeds: tuple[int, ...] = (1,)
    settings: GenerationRequest = field(default_factory=lambda: GenerationRequest(""))
    blocks: tuple[BlockChoice, ...] = (BlockChoice(),)
    columns: str = "file"
    rows: str = "weight"

    def words(self, model: str = "") -> str:
        """What the pictures were drawn with, for the foot of a sheet; ``model`` is the checkpoint's name."""
        drawn = self.settings
        parts = [
            f"Prompt: {' | '.join(self.prompts)}",
            f"Negative: {drawn.negative}" if drawn.negative else "",
            f"Seed {', '.join(map(str, self.seeds))}",
            f"{drawn.width}×{drawn.height}, {drawn.steps} steps, {drawn.sampler}, CFG {drawn.cfg:g}",
            f"Clip skip {drawn.clip_skip}" if drawn.clip_skip > 1 else "",
            f"Model {model}" if model else "",
        ]
        return " · ".join(filter(None, parts))

    def check(self) -> None:
        """Raise :class:`UserError` naming what is missing, double or too much, before anything is built."""
        for name in DIMENSIONS.values():
            if not getattr(self, name):
                raise UserError("There is nothing to compare", where=name, fix="Give at least one.")
        if (count := math.prod(len(self.values(dimension)) for dimension in DIMENSIONS)) > MOST_CELLS:
            fix = f"Compare at most {MOST_CELLS:,} at once."
            raise UserError(f"This would be {count:,} images", where="grid", fix=fix)
        bounds.check_settings(self.settings)
        for weight in self.weights:
            bounds.check_number(weight, "weights", *bounds.WEIGHT)
        for seed in self.seeds:
            bounds.check_number(seed, "seeds", *bounds.SEED)
        for prompt in self.prompts:
            bounds.check_text(prompt, "prompts")
        for choice in self.blocks:
            bounds.check_text(choice.weights, "blocks")
        for name in DIMENSIONS.values():
            values = getattr(self, name)
            if len(set(values)) < len(values):
                raise UserError("The same value is there twice", where=name, fix="Give each once.")
        labels = [file.label for file in self.files]
        if len(set(labels)) < len(labels):
            raise UserError("Two files have the same heading", where="files", fix="Rename one of them.")
        if self.columns == self.rows or not {self.columns, self.rows} <= DIMENSIONS.keys():
            raise UserError("Columns and rows are the same", where="rows", fix=f"Choose from {', '.join(DIMENSIONS)}.")

    def values(self, dimension: str) -> tuple[Any, ...]:
        """The values of ``"file"``, ``"weight"``, …"""
        return tuple(getattr(self, DIMENSIONS[dimension]))

    def cells(self) -> list[Cell]:
        """All cells, file by file; those of different weights beside each other."""
        return [Cell(**dict(zip(DIMENSIONS, one, strict=True))) for one in product(*map(self.values, DIMENSIONS))]

    def headings(self, dimension: str) -> list[str]:
        """A short text for each value of a dimension."""
        values = self.values(dimension)
        if dimension == "prompt":
            return differing(values)
        if dimension in ("file", "blocks"):
            return [value.label or "all blocks" for value in values]
        return [f"{value:g}" if dimension == "weight" else f"seed {value}" for value in values]

    def tables(self) -> Iterator[Table]:
        """The grid as it is to be read: the highest weight on top, all else in the order given."""
        others = [d for d in DIMENSIONS if d not in (self.columns, self.rows)]
        columns, rows = self._laid_out(self.columns), self._laid_out(self.rows)
        for fixed in product(*(self._laid_out(d) for d in others)):
            same = {d: value for d, (value, _) in zip(others, fixed, strict=True)}
            yield Table(
                self._title(same),
                [heading for _, heading in columns],
                [heading for _, heading in rows],
                [[Cell(**same, **{self.columns: x, self.rows: y}) for x, _ in columns] for y, _ in rows],
            )

    def _laid_out(self, dimension: str) -> list[tuple[Any, str]]:
        pairs = list(zip(self.values(dimension), self.headings(dimension), strict=True))
        falling = dimension == "weight" and dimension != self.columns
        return sorted(pairs, key=lambda pair: pair[0], reverse=True) if falling else pairs

    def _title(self, same: dict[str, Any]) -> str:
        """The prompt, and of the other dimensions those that have a choice."""
        named: dict[str, Callable[[Any], str]] = {
            "file": lambda v: v.label,
            "blocks": lambda v: f"blocks {v.label}",
            "weight": lambda v: f"weight {v:g}",
            "seed": lambda v: f"seed {v}",
        }
        said = [named[d](v) for d, v in same.items() if d in named and (d == "seed" or len(self.values(d)) > 1)]
        return "  ".join([*([same["prompt"]] if "prompt" in same else []), *([f"({', '.join(said)})"] if said else [])])


def search_replace(prompts: Sequence[str], text: str) -> tuple[str, ...]:
    """Each prompt with the first of the terms in ``text`` as it is, and replaced by each of the others.

    Args:
        text: ``red hat, blue hat``; terms with commas in double quotes. Empty leaves the prompts as they are.

    Raises:
        UserError: there is nothing to put in its place, or a prompt does not have the first term.
    """
    terms = [term.strip() for term in next(csv.reader([text], skipinitialspace=True), []) if term.strip()]
    if not terms:
        return tuple(prompts)
    if len(terms) == 1:
        fix = "Write the words to search and those to put in their place: red hat, blue hat"
        raise UserError(f"There is nothing to put in place of {terms[0]!r}", where="Replace in prompt", fix=fix)
    for prompt in prompts:
        if terms[0] not in prompt:
            raise UserError(f"{terms[0]!r} is not in {prompt!r}", where="Replace in prompt", fix="Copy it from there")
    return tuple(dict.fromkeys(prompt.replace(terms[0], term) for prompt in prompts for term in terms))


def differing(prompts: Sequence[str]) -> list[str]:
    """Each prompt without the tags that all of them begin or end with."""
    tags = [[tag.strip() for tag in prompt.split(",")] for prompt in prompts]
    if len(tags) < 2:
        return list(prompts)
    begin = _common(tags)
    end = _common([row[begin:][::-1] for row in tags])
    return [", ".join(row[begin : len(row) - end]) or "—" for row in tags]


def _common(rows: Sequence[Sequence[str]]) -> int:
    """How many first tags all rows share."""
    count = 0
    for column in zip(*rows, strict=False):
        if len(set(column)) > 1:
            break
        count += 1
    return count
