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
        tensors = {**_network_tensors(network), **{f"optimizer/{name}": t for name, t in moments.items()}}
        if averaging is not None:
            tensors.update({f"average/{name}": t for name, t in averaging.tensors().items()})
        # clones: a view of a larger storage, or two names of one, cannot be written
        tensors = {name: t.detach().to("cpu", copy=True).contiguous() for name, t in tensors.items()}
        header = {"format": FORMAT, "position": json.dumps(asdict(position)), "checksum": _checksum(tensors)}
        header["optimizer"] = json.dumps(numbers)
        if self._current is None and (newest := self._newest()) is not None:
            self._current = newest[0].name
        slot = SLOTS[1] if self._current == SLOTS[0] else SLOTS[0]
        with atomic_write(self.folder / slot) as part:
            save_file(tensors, part, metadata=header)
        self._current = slot

    def load(
        self,
        network: Network,
        optimizer: torch.optim.Optimizer,
        present: Fingerprint,
        averaging: Averaging | None = None,
        earlier_configs: Collection[str] = (),
    ) -> int:
        """Put the newest whole slot into ``network`` and ``optimizer``; the steps done, 0 if there is no slot.

        Args:
            earlier_configs: as in :meth:`Fingerprint.require`.

        Raises:
            UserError: the state belongs to other settings, images or another checkpoint than ``present``.
        """
        newest = self._newest()
        if newest is None:
            return 0
        path, position = newest
        position.fingerprint.require(present, self.folder.parent, earlier_configs)
        tensors, numbers = _read_whole(path)
        _put_network(network, tensors)
        restore_optimizer(network, optimizer, _under("optimizer/", tensors), numbers)
        if averaging is not None:
            averaging.restore(_under("average/", tensors))
        self._current = path.name
        return position.step

    def position(self) -> Position | None:
        """Where the newest whole slot stands."""
        newest = self._newest()
        return newest[1] if newest else None

    def newest_path(self) -> Path | None:
        """The file of the newest whole slot."""
        newest = self._newest()
        return newest[0] if newest else None

    def _newest(self) -> tuple[Path, Position] | None:
        whole = []
        for name in SLOTS:
            path = self.folder / name
            if (position := _position_if_whole(path)) is not None:
                whole.append((path, position))
        return max(whole, key=lambda found: found[1].step, default=None)


def _position_if_whole(path: Path) -> Position | None:
    try:
        with safe_open(path, framework="pt") as f:
            header = f.metadata() or {}
            tensors = {name: f.get_tensor(name) for name in f.keys()}  # noqa: SIM118 — not a dict
        if header.get("format") != FORMAT or header.get("checksum") != _checksum(tensors):
            return None
        position = json.loads(header["position"])
        return Position(position["step"], Fingerprint(**position["fingerprint"]))
    except (FileNotFoundError, SafetensorError, OSError, ValueError, TypeError, KeyError):
        return None


def _read_whole(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors, and the optimizer's numbers; states of version 0.1 have none of those."""
    with safe_open(path, framework="pt") as f:
        numbers = json.loads((f.metadata() or {}).get("optimizer", "{}"))
        return {name: f.get_tensor(name).clone() for name in f.keys()}, numbers  # noqa: SIM118


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}


def _checksum(tensors: dict[str, Tensor]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _network_tensors(network: Network) -> dict[str, Tensor]:
    return {f"network/{name}": parameter for name, parameter in named_parameters(network)}


def _put_network(network: Network, tensors: dict[str, Tensor]) -> None:
    with torch.no_grad():
        for name, parameter in named_parameters(network):
            parameter.copy_(tensors[f"network/{name}"])
