"""What happened in a run, read from its folder: so it is there after a reload, a restart or years."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from html import escape
from pathlib import Path

from lib_lora.training.backups import backups
from lib_lora.training.run import Run
from lib_lora.ui import html
from lib_lora.ui.run_matrix import column_name, samples

SHOWN = 40
ENDS = {"finished": "Finished", "stopped": "Stopped", "failed": "Ended by an error"}

Entry = tuple[tuple[int, int], float, str]  # step and what comes after what within one; seconds since 1970; text
SAVED, DRAWN, KEPT, PAUSED, ENDED = 0, 1, 2, 3, sys.maxsize  # a run may be paused several times at one step


def run_log(run: Run, state: str = "") -> str:
    """A line for each thing that happened, the latest first: by their steps, for clocks are set back.

    Args:
        state: what it is doing now, as the first line.
    """
    entries = sorted(_entries(run), reverse=True)[:SHOWN]
    now = f"<li><b>{escape(state)}</b></li>" if state else ""
    lines = "".join(f"<li><time>{_clock(at)}</time> {escape(text)}</li>" for _, at, text in entries)
    warnings = "".join(f'<li class="lw-warned">⚠ {escape(html.sentence(text) or "")}</li>' for text in run.warnings())
    return f'<ol class="lw-log" tabindex="0" aria-label="What happened">{now}{warnings}{lines}</ol>'


def _entries(run: Run) -> Iterator[Entry]:
    yield (-1, SAVED), run.record.created, "Started"
    for (step, epoch), drawn in samples(run).items():
        yield (
            (step, DRAWN),
            max(map(_changed, drawn.values())),
            f"{html.plural(len(drawn), 'sample')} drawn, {column_name(step, epoch)}",
        )
    for row in run.epochs():
        path = Path(row.get("lora_path") or "")
        if row.get("lora_path") and path.is_file():
            loss = f", fixed-noise loss {row['fixed_loss']:.4g}" if row.get("fixed_loss") is not None else ""
            yield (row["step"], SAVED), _changed(path), f"Epoch {row['epoch']} saved as {path.name}{loss}"
    for number, (at, step, paused) in enumerate(run.pauses()):
        yield (step, PAUSED + number), at, f"Paused at step {step}" if paused else f"Went on at step {step}"
    for step in backups(run):
        kept = run.folder / "backups" / f"step{step:08d}.safetensors"
        yield (step, KEPT), _changed(kept), f"Backup at step {step}"
    if run.status in ENDS:
        step = run.result().get("step", run.steps)
        end, begun = ENDS[run.status], step or run.has_begun
        text = f"{end} at step {step}" if begun else f"{end} before the first step"
        yield (step, ENDED), _changed(run.folder / "result.json"), text


def _changed(path: Path) -> float:
    return path.stat().st_mtime if path.exists() else 0.0


def _clock(at: float) -> str:
    today = time.strftime("%Y-%m-%d", time.localtime(at)) == time.strftime("%Y-%m-%d")
    return time.strftime("%H:%M" if today else "%Y-%m-%d %H:%M", time.localtime(at))
