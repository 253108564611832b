from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from lib_lora.errors import UserError
from lib_lora.models.base import GenerationRequest
from lib_lora.tools.grid_spec import DIMENSIONS, BlockChoice, Candidate, GridSpec, differing, search_replace
from lib_lora.tools.sheet import captioned

FILES = (Candidate("e1", Path("1")), Candidate("e2", Path("2")))
SPEC = GridSpec(FILES, (0.5, 1.0), ("1girl, red hat, smile", "1girl, cap, smile"), (1, 2))


def test_epochs_by_weights_make_a_table_for_each_prompt_and_seed():
    tables = list(SPEC.tables())
    assert len(tables) == 4
    assert tables[0].title == "1girl, red hat, smile  (seed 1)"
    assert (tables[0].columns, tables[0].rows) == (["e1", "e2"], ["1", "0.5"])
    assert [(cell.file.label, cell.weight) for cell in tables[0].cells[0]] == [("e1", 1.0), ("e2", 1.0)]


@pytest.mark.parametrize("columns", DIMENSIONS)
@pytest.mark.parametrize("rows", DIMENSIONS)
def test_any_two_dimensions_can_be_laid_out(columns, rows):
    spec = replace(SPEC, blocks=(BlockChoice(), BlockChoice("GP1", "1,1")), columns=columns, rows=rows)
    if columns == rows:
        with pytest.raises(UserError):
            spec.check()
        return
    spec.check()
    shown = [cell for table in spec.tables() for row in table.cells for cell in row]
    assert len(shown) == 32 and set(shown) == set(spec.cells())
    for table in spec.tables():
        same = [d for d in DIMENSIONS if d not in (columns, rows)]
        assert all(len({getattr(cell, d) for row in table.cells for cell in row}) == 1 for d in same)
        assert len({table.title for table in spec.tables()}) == 8


def test_a_sheet_says_what_it_was_drawn_with():
    settings = GenerationRequest("", "lowres", 512, 768, 20, 6.5, sampler="Euler", clip_skip=2)
    words = replace(SPEC, settings=settings).words("anime")
    assert "1girl, red hat, smile | 1girl, cap, smile · Negative: lowres · Seed 1, 2 · 512×768, 20 steps" in words
    assert words.endswith("Euler, CFG 6.5 · Clip skip 2 · Model anime")
    page = Image.new("RGB", (300, 100), "teal")
    sheet = captioned(page, words)
    assert sheet.width == 300 and sheet.height > 130 and sheet.crop((0, 0, 300, 100)).tobytes() == page.tobytes()
    assert len(sheet.crop((0, 101, 300, sheet.height)).getcolors(1 << 20)) > 1


def test_prompts_are_told_apart_by_the_tags_that_differ():
    assert replace(SPEC, columns="prompt").headings("prompt") == ["red hat", "cap"]
    assert differing(["1girl", "1girl, hat"]) == ["—", "hat"]
    assert differing(["1girl"]) == ["1girl"]


def test_search_and_replace():
    assert search_replace(["1girl, red hat"], 'red hat, cap, "big, red hat"') == (
        "1girl, red hat", "1girl, cap", "1girl, big, red hat")  # fmt: skip
    assert search_replace(["a", "b"], "") == ("a", "b")
    for text, what in (("red", "nothing to put"), ("blue, green", "is not in")):
        with pytest.raises(UserError, match=what):
            search_replace(["red hat"], text)


def test_a_grid_without_end_is_refused():
    with pytest.raises(UserError, match="2,002 images"):
        replace(SPEC, prompts=("a",), weights=(1.0,), seeds=tuple(range(1001))).check()


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"seeds": tuple(range(10**4)), "weights": tuple(i / 1000 for i in range(10**4))}, "grid"),
        ({"settings": GenerationRequest("", width=10**9)}, "width"),
        ({"settings": GenerationRequest("", steps=10**400)}, "steps"),
        ({"prompts": ("a" * 30_000,)}, "prompts"),
        ({"weights": (float("nan"),)}, "weights"),
        ({"seeds": (-1,)}, "seeds"),
    ],
)
def test_what_nobody_draws_is_refused_before_it_is_built(changes, where):
    spec = GridSpec(**{"files": (Candidate("a", Path("a")),), "weights": (1.0,), "prompts": ("x",), **changes})
    with pytest.raises(UserError) as refused:
        spec.check()
    assert refused.value.where == where
