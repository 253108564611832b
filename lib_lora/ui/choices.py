"""Dropdowns of runs and LoRA files that follow the folders they come from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from lib_lora.training.run import Run
from lib_lora.ui.poll import Watched
from lib_lora.workbench import Workbench


def run_names(workbench: Workbench) -> Watched[list[str]]:
    """Ids of all runs, newest first."""
    return Watched(lambda: [run.id for run in workbench.runs.list()], workbench.host.paths.runs)


def lora_names(workbench: Workbench) -> Callable[[], list[str]]:
    """Names of all LoRA files; the folders are only listed again where one of them changed."""
    return lambda: [lora.name for lora in workbench.list_loras()]


def choices(names: Sequence[str], value: str | None, *, first: bool = True) -> Any:
    """An update for a dropdown whose value is ``value``.

    Args:
        first: choose the first name where the value is none of them (any more).
    """
    names = list(names)
    if value in names or (not first and not value):
        return gr.update(choices=names)
    return gr.update(choices=names, value=names[0] if first and names else None)


def sample_prompt_of(run: Run, literal: Callable[[str], str] = str) -> str:
    """What to draw with a run's LoRA if nobody said otherwise: its sample prompts, else its trigger, else a caption.

    Args:
        literal: makes a prompt of the words of captions, see :meth:`lib_lora.models.base.Host.literal`.
    """
    config = run.config()
    lines = [line.split(" --")[0].strip() for line in config.sample_prompts.splitlines() if line.strip()]
    return "\n".join(lines) or literal(config.trigger or _first_caption(Path(config.data_dir)) or config.name)


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _first_caption(folder: Path) -> str:
    """Of the pictures in ``folder`` that are trained; empty where there are no captions (any more)."""
    found = (path for path in folder.rglob("*.txt") if not _hidden(path.relative_to(folder)))
    first = min(found, default=None)
    return next(iter(first.read_text(encoding="utf-8", errors="replace").splitlines()), "").strip() if first else ""
