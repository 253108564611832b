"""Lists of LoRAs."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from lib_lora.ui.choices import lora_names, newest_first
from lib_lora.workbench.files import LoraEntry


def test_the_run_that_was_trained_last_is_first_and_of_it_the_newest_file() -> None:
    ages = {"a": 3.0, "mira": 2.0, "mira-000001": 1.0, "old-step00000004": 0.5, "old": 0.5}
    ages |= {"zed-000002": 9.0, "zed-000010": 8.0}
    assert newest_first(ages) == ["zed-000002", "zed-000010", "a", "mira", "mira-000001", "old", "old-step00000004"]


def test_a_file_is_asked_for_its_age_once(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("a.safetensors", "b.safetensors")]
    for second, file in enumerate(files):
        file.touch()
        os.utime(file, (second, second))
    entries = [LoraEntry(file.stem, file) for file in (*files, tmp_path / "gone.safetensors")]
    names = lora_names(cast(Any, SimpleNamespace(list_loras=lambda: entries)))
    assert names() == ["b", "a", "gone"]
    files[1].unlink()
    assert names() == ["b", "a", "gone"]  # what the list is of is the folders' business
