"""A run in pictures: its loss and its samples."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from lib_lora.training.run_store import Run
from lib_lora.ui import html
from lib_lora.ui.charts import Point, loss_chart
from lib_lora.ui.files import Pictures

SHOWN = 60
SAMPLE_NAME = re.compile(r"e(\d+)_s(\d+)_(\d+)")


def losses(run: Run) -> list[Point]:
    """(step, loss) of every step."""
    return [(row["step"], row["loss"]) for row in run.metrics()]


def loss_of(run: Run, title: str = "Loss") -> str:
    """Chart of the running and the fixed-noise loss; empty before the first value."""
    fixed = [(row["step"], row["fixed_loss"]) for row in run.epochs() if row["fixed_loss"] is not None]
    return loss_chart(losses(run), fixed, title=title)


def sample_strip(files: Sequence[Path], pictures: Pictures) -> str:
    """The latest sample images, newest at the right."""
    if not files:
        return ""
    shown = "".join(html.picture(pictures.url(path), sample_name(path)) for path in files[-SHOWN:])
    return f'<div class="lw-strip" tabindex="0" aria-label="Samples">{shown}</div>'


def sample_name(path: Path) -> str:
    """``e000002_s00000040_00.png`` → ``epoch 2, step 40``."""
    match = SAMPLE_NAME.match(path.stem)
    return f"epoch {int(match[1])}, step {int(match[2])}" if match else path.stem
