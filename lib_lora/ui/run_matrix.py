"""The samples of a run: a row for each prompt, a column for each time that they were drawn, the same seed in a row."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from html import escape
from pathlib import Path

from lib_lora.errors import UserError
from lib_lora.training.run import Run
from lib_lora.training.sample_prompts import parse_sample_prompts
from lib_lora.ui import html
from lib_lora.ui.files import Pictures

SHOWN = 60  # columns: the first, and the latest
SAMPLE_NAME = re.compile(r"e(\d+)_s(\d+)_(\d+)")

Drawn = Mapping[tuple[int, int], Mapping[int, Path]]  # (step, epoch) -> number of the prompt -> picture


def samples(run: Run) -> Drawn:
    """The sample pictures on the disk, in the order of the steps."""
    found: dict[tuple[int, int], dict[int, Path]] = defaultdict(dict)
    for path in run.samples.glob("*.png"):
        if match := SAMPLE_NAME.fullmatch(path.stem):
            found[int(match[2]), int(match[1])][int(match[3])] = path
    return dict(sorted(found.items()))


def sample_matrix(run: Run, pictures: Pictures, best: int | None = None) -> str:
    """A table of pictures, empty before the first; the page's script enlarges them and flips between the epochs.

    Args:
        best: the epoch that is marked.
    """
    drawn = samples(run)
    if not drawn:
        return ""
    columns = list(drawn)
    columns = columns[:1] + columns[1:][-SHOWN:]
    names = [column_name(step, epoch) for step, epoch in columns]
    texts = _prompts(run)
    head = "".join(
        _heading(name, epoch == best and step > 0) for name, (step, epoch) in zip(names, columns, strict=True)
    )
    rows = []
    for number in sorted({number for column in columns for number in drawn[column]}):
        text = texts[number] if number < len(texts) else f"prompt {number + 1}"
        cells = "".join(
            _cell(drawn[column].get(number), name, text, pictures) for name, column in zip(names, columns, strict=True)
        )
        rows.append(f'<tr><th scope="row" title="{escape(text)}"><span>{escape(text)}</span></th>{cells}</tr>')
    table = f"<table><thead><tr><td></td>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
    return f'<div class="lw-matrix" data-lw-loupe tabindex="0" role="region" aria-label="Samples">{table}</div>'


def column_name(step: int, epoch: int) -> str:
    """``start``, or ``epoch 2, step 40``."""
    return f"epoch {epoch}, step {step}" if step else "start"


def _heading(name: str, best: bool) -> str:
    mark = '<small class="lw-lowest" title="Lowest loss on fixed noise">● lowest loss</small>' if best else ""
    epoch, _, step = name.partition(", ")
    return f'<th scope="col">{mark}{epoch}{f" <small>{step}</small>" if step else ""}</th>'


def _cell(path: Path | None, name: str, prompt: str, pictures: Pictures) -> str:
    if path is None:
        return "<td></td>"
    said = escape(f"{name}: {prompt}")
    return f'<td><img src="{escape(pictures.url(path))}" alt="{said}" loading="lazy" {html.ZOOMS}></td>'


def _prompts(run: Run) -> list[str]:
    try:
        config = run.config()
    except UserError:
        return []
    return [sample.prompt for sample in parse_sample_prompts(config.sample_prompts, size=config.resolution)]
