"""The table of a card: on the double every row has figures, and a row that fails costs itself only."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.card import run
from bench.card.device import Card
from bench.card.models import TINY
from bench.card.rows import Rows
from bench.card.variants import VARIANTS
from lib_lora.errors import UserError
from lib_lora.models.memory import OUT_OF_MEMORY

ROOT = Path(__file__).parents[1]


def measured_on_the_double() -> list[dict[str, Any]]:
    """In a process of its own: a step of one model."""
    from tests.card import CARD, insert

    insert()
    torch.set_num_threads(1)
    one = replace(TINY, models={"SDXL": TINY.models["SDXL"]}, precisions=("bf16",), checks=(), variants=("",))
    return run(CARD, one, say=lambda line: None)["rows"]


def test_a_step_on_the_double():
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        product, model, step = pool.submit(measured_on_the_double).result()
    assert product["tflops"] > 0 and model["model_gb"] > 0
    assert step["what"] == "one image" and step["seconds"] > 0 and step["share"] > 0


def test_each_row_has_figures():
    lines: list[str] = []
    one = replace(TINY, models={"SD1.5": TINY.models["SD1.5"]}, precisions=("bf16",), checks=())
    found = run("cpu", one, say=lines.append)
    rows = {row["what"]: row for row in found["rows"]}
    assert not [row for row in found["rows"] if "note" in row] and len(lines) == len(rows) + 1
    assert {"one image", *filter(None, VARIANTS)} < rows.keys()
    assert rows["fp8 base"]["images_per_second"] > 0 and rows["epoch grid"]["speedup"] > 0
    assert rows["click to first step"]["seconds"] > 0


def test_a_row_that_fails_says_why_and_the_others_are_measured():
    lines: list[str] = []
    rows = Rows(60, lines.append)

    def fails(error: Exception) -> dict[str, float]:
        raise error

    assert rows.add("a", "full", lambda: fails(OUT_OF_MEMORY("no room"))) is None
    assert rows.add("a", "broken", lambda: fails(ValueError("odd\nlong"))) is None
    assert rows.add("b", "fine", lambda: {"seconds": 0.12345, "peak_gb": None}) is not None
    assert [row.get("note") for row in rows.found] == ["does not fit", "failed: ValueError: odd", None]
    assert lines[-1].endswith("seconds 0.123")
    late = Rows(0, lines.append)
    assert late.add("c", "more", lambda: {}) is None and "time was over" in lines[-1]


def test_without_a_card_it_says_so(monkeypatch):
    for kind in ("cuda", "xpu", "mps"):
        monkeypatch.setattr(f"torch.{kind}.is_available", lambda: False)
    with pytest.raises(UserError, match="no graphics card"):
        Card.found()


def test_without_diffusers_it_names_the_package():
    """As in A1111, which has none."""
    begin = "import sys; sys.modules['diffusers'] = None; from lib_lora.cli import main"
    program = f"{begin}; sys.exit(main(['bench', 'card']))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode != 0 and "Traceback" not in done.stderr
    assert "needs a package" in done.stderr and "pip install diffusers" in done.stderr
