"""What a process of its own takes in its runs, and what *Check* said of it before; used by test_memory.py."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from lib_lora.hosts.standalone.host import StandaloneHost
from lib_lora.models.memory import process_memory
from lib_lora.training.preflight import preflight
from lib_lora.training.run_store import RunStore
from lib_lora.training.trainer import Trainer
from tests.training.resume_worker import host_paths
from tests.training.worlds import image_folder, small_config


def said_and_held(root: Path, checkpoint: Path, settings: Sequence[Mapping[str, Any]]) -> list[tuple[int, int]]:
    """Of a run with each of the settings: the bytes that the process would hold, and the most that it held."""
    torch.set_num_threads(1)
    host = StandaloneHost(host_paths(root, checkpoint), device="cpu")
    host.load(checkpoint.stem)
    found = []
    for number, changes in enumerate(settings):
        folder = image_folder(root / f"set{number}")
        config = small_config(folder, f"run{number}", max_steps=2, fixed_loss_images=0, **changes)
        with host.training_session() as model:
            said = preflight(config, model, host.paths).process
            events = Trainer(RunStore(host.paths.runs).create(config), model, host.paths).run()
            found.append((said or 0, _most_held_during(lambda events=events: list(events))))
    return found


def _most_held_during(work: Any) -> int:
    ended, held = threading.Event(), [process_memory() or 0]

    def watch() -> None:
        while not ended.wait(0.005):
            held.append(process_memory() or 0)

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        work()
    finally:
        ended.set()
        watching.join()
    return max(held)
