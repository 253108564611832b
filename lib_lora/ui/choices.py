"""Dropdowns of runs and LoRA files that follow the folders they come from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from lib_lora.names import EPOCH, STEP
from lib_lora.training.run import Run
from lib_lora.training.sample_prompts import parse_sample_prompts
from lib_lora.ui.poll import Watched
from lib_lora.workbench import Workbench


def run_names(workbench: Workbench) -> Watched[list[str]]:
    """Ids of all runs, newest first."""
    return Watched(lambda: [run.id for run in workbench.runs.list()], workbench.host.paths.runs)


def lora_names(workbench: Workbench) -> Callable[[], list[str]]:
    """Names of all LoRA files, the run that was trained last first; the folders are only listed again where one of them
    changed, and the age of a file is asked for once."""
    ages: dict[Path, float] = {}

    def names() -> list[str]:
        entries = workbench.list_loras()
        for entry in entries:
            if entry.path not in ages:
                ages[entry.path] = _age(entry.path)
        return newest_first({entry.name: ages[entry.path] for entry in entries})

    return names


def newest_first(ages: Mapping[str, float]) -> list[str]:
    """Names of LoRA files by run: the run with the newest file first, and of each run the newest file first.

    Args:
        ages: name -> when the file was written, in seconds.
    """
    runs: dict[str, float] = {}
    for name, written in ages.items():
        runs[_run(name)] = max(written, runs.get(_run(name), 0.0))
    return sorted(ages, key=lambda name: (-runs[_run(name)], _run(name), -ages[name], name.casefold()))


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
    drawn = [sample.prompt for sample in parse_sample_prompts(config.sample_prompts)]
    return "\n".join(filter(None, drawn)) or literal(
        config.trigger or _first_caption(Path(config.data_dir)) or config.name
    )


def _run(name: str) -> str:
    """What the files of a run have in common; a date at the end groups files too, which does no harm in a list."""
    return EPOCH.sub("", STEP.sub("", name)).casefold()


def _age(path: Path) -> float:
    """When a file was written, in seconds; 0 where it cannot be asked."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _first_caption(folder: Path) -> str:
    """Of the pictures in ``folder`` that are trained; empty where there are no captions (any more)."""
    found = (path for path in folder.rglob("*.txt") if not _hidden(path.relative_to(folder)))
    first = min(found, default=None)
    return next(iter(first.read_text(encoding="utf-8", errors="replace").splitlines()), "").strip() if first else ""
