"""The LoRA files that a run leaves: when, under which name, with which metadata."""

from __future__ import annotations

from pathlib import Path

import torch

from lib_lora.adapters.file import read_metadata, write_lora
from lib_lora.adapters.network import Network
from lib_lora.errors import UserError

DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16, "fp32": torch.float32}


def epoch_path(folder: Path, name: str, epoch: int) -> Path:
    """The file of an epoch of the LoRA ``name``."""
    return folder / f"{name}-{epoch:06d}.safetensors"


class Checkpoints:
    """Writes ``NAME-000004.safetensors`` per epoch, ``NAME-step00000500.safetensors`` on request, ``NAME.safetensors``
    at the end (kohya's names).

    Args:
        folder: where the host looks for LoRAs.
        metadata: what every file of the run says; must not depend on when it is written, so that a resumed run writes
            the same bytes.
    """

    def __init__(self, folder: Path, name: str, precision: str, metadata: dict[str, str]):
        self.folder = folder
        self.name = name
        self.dtype = DTYPES[precision]
        self.metadata = metadata

    @property
    def final_path(self) -> Path:
        """Of the file that the training ends with."""
        return self.folder / f"{self.name}.safetensors"

    def epoch_path(self, epoch: int) -> Path:
        """Of the file after an epoch, counted from 1."""
        return epoch_path(self.folder, self.name, epoch)

    def step_path(self, step: int) -> Path:
        """Of the file after a step, counted from 1."""
        return self.folder / f"{self.name}-step{step:08d}.safetensors"

    def refuse_foreign(self, epochs: int, steps: int = 0, every: int = 0) -> None:
        """Raise UserError if a file that this run will write belongs to something else.

        Args:
            epochs, steps: the length of the run.
            every: the steps between two files; 0: none by the step.
        """
        by_step = range(every, steps, every) if every else ()
        for path in (self.final_path, *map(self.epoch_path, range(1, epochs)), *map(self.step_path, by_step)):
            if path.exists() and not self._is_ours(path):
                raise UserError("A LoRA of that name exists already", where=path, fix="Choose another name")

    def write(self, path: Path, network: Network, *, epoch: int, step: int) -> Path:
        """Write the network's present weights; replaces only a file of this same run."""
        metadata = {**self.metadata, "ss_epoch": str(epoch), "ss_steps": str(step)}
        there = path.exists()
        if there and not self._is_ours(path):
            raise UserError("A LoRA of that name exists already", where=path, fix="Choose another name")
        return write_lora(path, network.modules(), metadata, dtype=self.dtype, overwrite=there)

    def _is_ours(self, path: Path) -> bool:
        try:
            return read_metadata(path).get("ss_session_id") == self.metadata["ss_session_id"]
        except UserError:
            return False  # damaged or no LoRA at all: certainly not ours to replace
