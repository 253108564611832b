"""One model lent to test after test: to load it for each costs more than most of them do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from lib_lora.hosts.standalone.host import StandaloneHost
from lib_lora.hosts.standalone.model import StandaloneModel
from lib_lora.models.base import HostPaths


class Lender:
    """Lends the parts of a checkpoint's model to one host at a time; parts that do not come back as they were, bit for
    bit, are read anew for the next."""

    def __init__(self, checkpoint: Path):
        self.checkpoint = checkpoint
        self._model: StandaloneModel | None = None
        self._before: list[Any] = []
        self._hashes: dict[str, str] = {}

    def host(self, paths: HostPaths) -> StandaloneHost:
        """A host of ``paths`` that has the model loaded; the last one is to be given back before."""
        host = StandaloneHost(paths)
        if self._model is None:
            host.load(self.checkpoint.stem)
            assert isinstance(host._model, StandaloneModel)
            self._model, self._before, self._hashes = host._model, _state(host._model), host._model.hashes()
        kept = self._model
        host._model = StandaloneModel(
            kept.name, kept.path, kept.unet, kept.vae, kept.text_encoder, kept.prediction, kept.zero_terminal
        )
        vars(host._model)["_hashes"] = self._hashes
        return host

    def give_back(self, host: StandaloneHost) -> None:
        """Whatever still refers to ``host``, or works for it, has the model no longer, nor keeps it in memory."""
        host._model = None
        busy = host._sessions > 0 or host.gpu_lock._owner is not None
        if busy or self._model is None or not _same(self._before, _state(self._model, copies=False)):
            self._model = None


def _state(model: StandaloneModel, copies: bool = True) -> list[Any]:
    """All that a test could leave changed in the modules, and their tensors, in an order."""
    state: list[Any] = []
    for root in model.modules.values():
        for module in root.modules():
            hooks = [name for name, value in vars(module).items() if name.endswith("hooks") and value]
            state += [id(module), type(module), module.training, sorted(vars(module)), hooks]
        for tensor in (*root.parameters(), *root.buffers()):
            state += [id(tensor), tensor.requires_grad, tensor.grad is None, tensor.data_ptr(), tensor.is_inference()]
            state.append(tensor.detach().clone() if copies else tensor.detach())
    return state


def _same(one: list[Any], other: list[Any]) -> bool:
    return len(one) == len(other) and all(
        _bits(a, b) if isinstance(a, torch.Tensor) else a == b for a, b in zip(one, other, strict=True)
    )


def _bits(one: torch.Tensor, other: Any) -> bool:
    return (
        isinstance(other, torch.Tensor)
        and one.dtype == other.dtype
        and one.device == other.device
        and torch.equal(one, other)
    )
