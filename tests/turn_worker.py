"""Two programs on one data folder that answer at once; run as a process of its own, too."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from lib_lora.errors import UserError
from lib_lora.models.base import HostPaths
from lib_lora.tools.taste.preference import FIRST
from lib_lora.workbench.made import MadePictures
from lib_lora.workbench.taste import TasteTuning

ANSWERS = 15


def bench(root: Path) -> Any:
    """What both need of a workbench; the queue draws nothing."""
    paths = HostPaths(*(root / name for name in ("loras", "models", "runs", "data")))
    return SimpleNamespace(host=SimpleNamespace(paths=paths), queue=SimpleNamespace(submit=lambda _job: 0))


def answer(root: Path, first: int) -> int:
    """Keep every second picture, and prefer the first side as long as questions are open; how many were answered."""
    made, tuning, given = MadePictures(bench(root), "mira"), TasteTuning(bench(root), "mira"), 0
    for number in range(first, 2 * ANSWERS, 2):
        made.answer(f"{number:04}", True)
        session = tuning.session()
        assert session is not None
        try:
            tuning.answer(session.answered, FIRST)
        except UserError:
            continue  # the other program was faster
        given += 1
    return given


if __name__ == "__main__":
    print("ready", flush=True)
    sys.stdin.readline()
    print(answer(Path(sys.argv[1]), 1))
