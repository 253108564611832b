"""The miniature tuned to rectified flow: a checkpoint that is made where it is wanted, from a small file."""

from __future__ import annotations

from pathlib import Path

from safetensors import safe_open
from safetensors.torch import load_file, save_file

from lib_lora.files import atomic_write, write_text

from . import CHECKPOINT, FLOW
from .difference import added

DIFFERENCE = CHECKPOINT.with_name("flow.safetensors")  # of its U-Net from the miniature's


def write_flow(folder: Path) -> Path:
    """Put the checkpoint and its yaml into ``folder``, unless they are there; returns the checkpoint."""
    target = folder / f"{FLOW}.safetensors"
    if target.exists():
        return target
    folder.mkdir(parents=True, exist_ok=True)
    with safe_open(DIFFERENCE, "pt") as file:
        metadata = file.metadata()
    side_car = CHECKPOINT.with_suffix(".yaml").read_text(encoding="utf-8")
    write_text(target.with_suffix(".yaml"), side_car.replace("parameterization: eps", "parameterization: flow"))
    with atomic_write(target) as part:
        save_file(added(load_file(DIFFERENCE), load_file(CHECKPOINT)), part, metadata)
    return target
