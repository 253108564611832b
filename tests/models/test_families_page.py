"""docs/families.md has a row for every family, with the number of its blocks and the programs that read its files."""

from __future__ import annotations

from pathlib import Path

from lib_lora.models.families import families

PAGE = Path(__file__).parents[2] / "docs" / "families.md"


def test_the_table_is_true() -> None:
    rows = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| ")][1:]
    assert len(rows) == len(families())
    for row, family in zip(rows, families().values(), strict=True):
        label, blocks, programs = (cell.strip() for cell in row.strip("|").split("|"))
        assert label == family.label and programs == ", ".join(family.programs)
        assert blocks.partition(":")[0] == " or ".join(str(len(layout)) for layout in family.blocks.layouts)
