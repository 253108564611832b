"""Whether a training on the card is one: the file of a CPU, no waiting in its steps, half precision to the end."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from bench.card.device import Card
from bench.start import settings, write_pictures

CHECKS: dict[str, dict[str, Any]] = {
    "float32": {},
    "fp16": {"precision": "fp16"},
    "bf16": {"precision": "bf16"},
    "checkpointing": {"gradient_checkpointing": True},
    "fp8 base": {"fp8_base": True},
    "base in main memory": {"offload_base": 70},
    "DoRA": {"dora": True},
}


def checks(card: Card, folder: Path, names: Iterable[str]) -> Iterator[tuple[str, Callable[[], dict[str, Any]]]]:
    """Name and measurement of each: ``difference`` from a CPU's file in its norm, ``waits`` in the later steps."""
    pictures = write_pictures(folder / "checks")
    for name in names:
        yield name, partial(_compared, card, folder / name.replace(" ", "-"), pictures, CHECKS[name])


def _compared(card: Card, folder: Path, pictures: Path, changes: dict[str, Any]) -> dict[str, Any]:
    from lib_lora.demo.architecture import random_checkpoint

    checkpoint = random_checkpoint(folder / "models" / "tiny.safetensors", seed=3)
    waits: list[int] = []
    on_card = _trained(folder / "card", checkpoint, pictures, card.device, changes, waits)
    plain = {name: value for name, value in changes.items() if name != "precision"}
    on_cpu = _trained(folder / "cpu", checkpoint, pictures, torch.device("cpu"), plain, [])
    if not torch.isfinite(on_card).all():
        raise ArithmeticError("the file has NaN")
    found: dict[str, Any] = {"difference": float((on_card - on_cpu).norm() / on_cpu.norm())}
    return found | ({"waits": sum(waits)} if card.device.type == "cuda" else {})


def _trained(
    folder: Path, checkpoint: Path, pictures: Path, device: torch.device, changes: dict[str, Any], waits: list[int]
) -> torch.Tensor:
    """All numbers of the file of one epoch; what each step but the first waited for is appended to ``waits``."""
    from lib_lora.hosts.standalone.host import StandaloneHost
    from lib_lora.models.base import HostPaths
    from lib_lora.training.events import StepDone
    from lib_lora.training.run_store import RunStore
    from lib_lora.training.trainer import Trainer

    paths = HostPaths(folder / "loras", checkpoint.parent, folder / "runs", folder / "data")
    host = StandaloneHost(paths, device=device, dtype=torch.float32)
    host.load(checkpoint.stem)
    config = replace(settings(pictures, "check"), resolution=64, **changes)
    with host.training_session() as model:
        run = Trainer(RunStore(paths.runs).create(config), model, paths).run()
        step = 0
        while True:
            with _counted(device, waits if step else []):
                event = next(run, None)
            if event is None:
                break
            step += isinstance(event, StepDone)
    tensors = load_file(paths.loras / "check.safetensors")
    return torch.cat([t.double().flatten() for _, t in sorted(tensors.items())])


@contextmanager
def _counted(device: torch.device, waits: list[int]) -> Iterator[None]:
    """Append how often torch says that the program waited for the card."""
    if device.type != "cuda":
        yield
        return
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            yield
        finally:
            torch.cuda.set_sync_debug_mode("default")
    waits.append(sum("synchroniz" in str(warning.message) for warning in seen))
