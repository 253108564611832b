"""Progress of a run on disk: two slots written in turn, so that one whole state survives any crash.

A slot is one safetensors file: network and optimizer tensors, with the position in its header. One file renamed into
place cannot be half new; a checksum over the tensors catches a damaged disk. No generator state is saved, because every
draw is a function of (seed, step).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from lib_lora.adapters.network import Network
from lib_lora.errors import UserError
from lib_lora.files import atomic_write
from lib_lora.training.averaging import Averaging
from lib_lora.training.optimizer_state import named_parameters, optimizer_state, restore_optimizer

SLOTS = ("a.safetensors", "b.safetensors")
FORMAT = "1"
DAMAGE = (SafetensorError, OSError, ValueError, TypeError, KeyError)


@dataclass(frozen=True)
class Fingerprint:
    """What a state belongs to: hashes of the settings, of images with captions, and of the checkpoint."""

    config: str
    data: str
    model: str

    def require(self, present: Fingerprint, where: Path, earlier_configs: Collection[str] = ()) -> None:
        """Raise UserError if the run would go on with something else than it began with.

        Args:
            earlier_configs: hashes of settings that may become the present ones.
        """
        remedy = "Undo that, or start a new run"
        if self.model != present.model:
            raise UserError("This run was made on another checkpoint", where=where, fix="Load that one to continue")
        if self.config not in (present.config, *earlier_configs):
            raise UserError("The settings in config.toml were changed since this run began", where=where, fix=remedy)
        if self.data != present.data:
            raise UserError("Images or captions were changed since this run began", where=where, fix=remedy)


@dataclass(frozen=True)
class Position:
    """Where a run stands: ``step`` optimizer steps are done."""

    step: int
    fingerprint: Fingerprint


@dataclass(frozen=True)
class SavedState:
    """What a whole slot held.

    Attributes:
        slot: its file.
        tensors: of network, optimizer and average, on the CPU.
        numbers: the optimizer's; states of version 0.1 have none.
    """

    slot: Path
    position: Position
    tensors: dict[str, Tensor]
    numbers: dict[str, Any]

    def restore(
        self,
        network: Network,
        optimizer: torch.optim.Optimizer,
        present: Fingerprint,
        averaging: Averaging | None = None,
        earlier_configs: Collection[str] = (),
    ) -> int:
        """Put it into ``network``, ``optimizer`` and ``averaging``; the steps that are done.

        Args:
            earlier_configs: as in :meth:`Fingerprint.require`.

        Raises:
            UserError: it belongs to other settings, images or another checkpoint than ``present``.
        """
        self.position.fingerprint.require(present, self.slot.parent.parent, earlier_configs)
        with torch.no_grad():
            for name, parameter in named_parameters(network):
                parameter.copy_(self.tensors[f"network/{name}"])
        restore_optimizer(network, optimizer, _under("optimizer/", self.tensors), self.numbers)
        if averaging is not None:
            averaging.restore(_under("average/", self.tensors))
        return self.position.step


class StateSlots:
    """The ``state/`` folder of a run."""

    def __init__(self, folder: Path):
        self.folder = Path(folder)
        self._current: str | None = None  # the slot written or read last, so a save need not read both again

    def save(
        self, position: Position, network: Network, optimizer: torch.optim.Optimizer, averaging: Averaging | None = None
    ) -> None:
        """Write the older (or the damaged) slot; the newest whole one stays until the next save."""
        moments, numbers = optimizer_state(network, optimizer)
        tensors: dict[str, Tensor] = {f"network/{name}": parameter for name, parameter in named_parameters(network)}
        tensors.update({f"optimizer/{name}": t for name, t in moments.items()})
        if averaging is not None:
            tensors.update({f"average/{name}": t for name, t in averaging.tensors().items()})
        # clones: a view of a larger storage, or two names of one, cannot be written
        tensors = {name: t.detach().to("cpu", copy=True).contiguous() for name, t in tensors.items()}
        header = {"format": FORMAT, "position": json.dumps(asdict(position)), "checksum": _checksum(tensors)}
        header["optimizer"] = json.dumps(numbers)
        if self._current is None:
            self.newest()
        slot = SLOTS[1] if self._current == SLOTS[0] else SLOTS[0]
        with atomic_write(self.folder / slot) as part:
            save_file(tensors, part, metadata=header)
        self._current = slot

    def newest(self) -> SavedState | None:
        """The newest whole slot, None without one. Each slot is read at most once: the other only if one is damaged."""
        found = [(position.step, self.folder / name) for name in SLOTS if (position := _position(self.folder / name))]
        for _, path in sorted(found, reverse=True):
            if (saved := _read_if_whole(path)) is not None:
                self._current = path.name
                return saved
        return None

    def last_step(self) -> int:
        """The step of the newest slot, 0 without one; by its header alone, so a slot that is cut off counts too."""
        found = [position.step for name in SLOTS if (position := _position(self.folder / name))]
        return max(found, default=0)

    def position(self) -> Position | None:
        """Where the newest whole slot stands."""
        saved = self.newest()
        return saved.position if saved else None


def _position(path: Path) -> Position | None:
    """What the header of a slot says; None where it cannot be read."""
    try:
        with safe_open(path, framework="pt") as f:
            header = f.metadata() or {}
        position = json.loads(header["position"])
        return Position(int(position["step"]), Fingerprint(**position["fingerprint"]))
    except DAMAGE:
        return None


def _read_if_whole(path: Path) -> SavedState | None:
    try:
        with safe_open(path, framework="pt") as f:
            header = f.metadata() or {}
            tensors = {name: f.get_tensor(name).clone() for name in f.keys()}  # noqa: SIM118 — not a dict
        position = _position(path)
        if position is None or header.get("format") != FORMAT or header.get("checksum") != _checksum(tensors):
            return None
        return SavedState(path, position, tensors, json.loads(header.get("optimizer", "{}")))
    except DAMAGE:
        return None


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}


def _checksum(tensors: dict[str, Tensor]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
