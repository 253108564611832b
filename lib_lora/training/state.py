"""Progress of a run on disk: two slots written in turn, so that one whole state survives any crash.

A slot is one safetensors file: network and optimizer tensors, with the position in its header. One file renamed into
place cannot be half new; a checksum over the tensors catches a damaged disk. No generator state is saved, because every
draw is a function of (seed, step).
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from lib_lora.adapters.network import Network
from lib_lora.errors import UserError
from lib_lora.files import atomic_write

SLOTS = ("a.safetensors", "b.safetensors")
FORMAT = "1"


@dataclass(frozen=True)
class Fingerprint:
    """What a state belongs to: hashes of the settings, of images with captions, and of the checkpoint."""

    config: str
    data: str
    model: str

    def require(self, present: Fingerprint, where: Path) -> None:
        """Raise UserError if the run would go on with something else than it began with."""
        remedy = "Undo that, or start a new run"
        if self.model != present.model:
            raise UserError("This run was made on another checkpoint", where=where, fix="Load that one to continue")
        if self.config != present.config:
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

    def save(self, position: Position, network: Network, optimizer: torch.optim.Optimizer) -> None:
        """Write the older (or the damaged) slot; the newest whole one stays until the next save."""
        tensors = {**_network_tensors(network), **_optimizer_tensors(network, optimizer)}
        tensors = {name: t.detach().to("cpu").contiguous() for name, t in tensors.items()}
        header = {"format": FORMAT, "position": json.dumps(asdict(position)), "checksum": _checksum(tensors)}
        if self._current is None and (newest := self._newest()) is not None:
            self._current = newest[0].name
        slot = SLOTS[1] if self._current == SLOTS[0] else SLOTS[0]
        with atomic_write(self.folder / slot) as part:
            save_file(tensors, part, metadata=header)
        self._current = slot

    def load(self, network: Network, optimizer: torch.optim.Optimizer, present: Fingerprint) -> int:
        """Put the newest whole slot into ``network`` and ``optimizer``; the steps done, 0 if there is no slot.

        Raises:
            UserError: the state belongs to other settings, images or another checkpoint than ``present``.
        """
        newest = self._newest()
        if newest is None:
            return 0
        path, position = newest
        position.fingerprint.require(present, self.folder.parent)
        tensors = _read_whole(path)
        _put_network(network, tensors)
        _put_optimizer(network, optimizer, tensors)
        self._current = path.name
        return position.step

    def position(self) -> Position | None:
        """Where the newest whole slot stands."""
        newest = self._newest()
        return newest[1] if newest else None

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


def _read_whole(path: Path) -> dict[str, Tensor]:
    with safe_open(path, framework="pt") as f:
        return {name: f.get_tensor(name).clone() for name in f.keys()}  # noqa: SIM118


def _checksum(tensors: dict[str, Tensor]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _named_parameters(network: Network) -> list[tuple[str, torch.nn.Parameter]]:
    return [
        (f"{key}.{name}", parameter)
        for key, adapter in network.adapters.items()
        for name, parameter in adapter.named_parameters()
    ]


def _network_tensors(network: Network) -> dict[str, Tensor]:
    return {f"network/{name}": parameter for name, parameter in _named_parameters(network)}


def _put_network(network: Network, tensors: dict[str, Tensor]) -> None:
    with torch.no_grad():
        for name, parameter in _named_parameters(network):
            parameter.copy_(tensors[f"network/{name}"])


def _optimizer_tensors(network: Network, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    return {
        f"optimizer/{name}/{kind}": value
        for name, parameter in _named_parameters(network)
        for kind, value in optimizer.state.get(parameter, {}).items()
    }


def _put_optimizer(network: Network, optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    by_name: dict[str, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith("optimizer/"):
            name, kind = key.removeprefix("optimizer/").rsplit("/", 1)
            by_name.setdefault(name, {})[kind] = value
    for name, parameter in _named_parameters(network):
        # counters ("step") live on the CPU, moments beside their parameter
        state = {k: v if v.dim() == 0 else v.to(parameter.device) for k, v in by_name.get(name, {}).items()}
        if state:
            optimizer.state[parameter] = state
