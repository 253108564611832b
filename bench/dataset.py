"""A set of 10,000 captioned pictures: open, open again, filter, and search for duplicates."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from PIL import Image

from bench.process import peak_memory
from lib_lora.dataset.duplicates.groups import find_duplicates
from lib_lora.dataset.editor import DatasetEditor
from lib_lora.dataset.tags.index import TagFilter

PICTURES, FOLDERS, SIDE = 10_000, 5, 96
TAGS, TAGS_EACH = 3000, 25
FILTER = TagFilter(("tag 1?",), ("tag 2", "tag 3*"), ("tag 7",))


def run(pictures: int = PICTURES) -> dict[str, object]:
    """Measure with files that were written a moment before, so they are in the system's cache.

    Returns:
        For ``open``, ``again``, ``filter`` and ``duplicates`` the wall seconds and, as ``…_cpu``, the processor seconds
        of this process; ``pictures``, ``side`` (pixels), ``memory_mb`` (peak of the process) and ``load`` (of the
        machine, at the start).
    """
    with TemporaryDirectory() as name:
        folder, cache = Path(name, "set"), Path(name, "cache")
        write_set(folder, pictures)
        result: dict[str, object] = {"pictures": pictures, "side": SIDE, "load": round(os.getloadavg()[0], 1)}
        result |= _timed("open", lambda: DatasetEditor([folder], cache))
        opened: list[DatasetEditor] = []
        result |= _timed("again", lambda: opened.append(DatasetEditor([folder], cache)))
        editor = opened[0]
        result |= _timed("filter", lambda: editor.select(FILTER))
        result |= _timed("duplicates", lambda: [step for step in find_duplicates(editor.pictures, cache=cache)])
    return result | {"memory_mb": peak_memory() >> 20}


def write_set(folder: Path, pictures: int) -> None:
    """JPEGs of smooth random colours with 25 tags each, in ``N_name`` folders."""
    rng, r = np.random.default_rng(0), random.Random(0)
    for number in range(pictures):
        path = folder / f"{1 + number % FOLDERS}_concept{number % FOLDERS}" / f"{number:05}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        coarse = Image.fromarray(rng.integers(0, 256, (6, 6, 3), np.uint8))
        coarse.resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(path, quality=85)
        tags = ", ".join(f"tag {r.randrange(TAGS)}" for _ in range(TAGS_EACH))
        path.with_suffix(".txt").write_text(tags, encoding="utf-8")


def _timed(name: str, work: Callable[[], Any]) -> dict[str, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    seconds = {name: time.perf_counter() - wall, f"{name}_cpu": time.process_time() - cpu}
    return {key: round(value, 3) for key, value in seconds.items()}
