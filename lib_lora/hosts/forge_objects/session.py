"""A model in ``forge_objects``, borrowed for training and given back as it was."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from typing import Any, Protocol

import torch

from lib_lora.hosts.checkpointing import own_checkpointing_off
from lib_lora.hosts.forge_objects.blocks import differentiable_blocks
from lib_lora.hosts.forge_objects.model import ForgeObjectsModel
from lib_lora.hosts.forge_objects.support import require_loaded
from lib_lora.hosts.forge_objects.thaw import thaw
from lib_lora.hosts.frozen import frozen
from lib_lora.hosts.queue_lock import QueueLock
from lib_lora.hosts.webui.session import Session

TRAINED = ("unet", "te")


class MemoryManager(Protocol):
    """``backend.memory_management`` or ``ldm_patched.modules.model_management``."""

    def load_models_gpu(self, models: list[Any]) -> None: ...

    def soft_empty_cache(self) -> None: ...


class ForgeObjectsSession(Session):
    """A training's claim to a model; see :class:`lib_lora.hosts.webui.session.Session`.

    The parts are loaded through the host's memory manager, so it knows where they are, and may put them elsewhere as
    soon as the lock is free. When the user chooses another checkpoint, ours stays with us: nothing is read again.

    Args:
        make_model: makes the model, given what is to be called before each use.
        lock: the web UI's queue.
        memory: its memory manager.
        attention: makes attention differentiable while it is open.
    """

    def __init__(
        self,
        make_model: Callable[[Callable[[str], None]], ForgeObjectsModel],
        lock: QueueLock,
        memory: MemoryManager,
        attention: Callable[[], AbstractContextManager[None]],
    ):
        self.model: ForgeObjectsModel
        super().__init__(make_model(self.reclaim), lock)
        self._memory = memory
        self._attention = attention
        self._ready: set[str] = set()

    def _prepare(self, undo: ExitStack) -> None:
        m = self.model
        undo.callback(self._memory.soft_empty_cache)
        undo.enter_context(self._attention())
        undo.enter_context(frozen([m.unet, m.text_encoder]))
        undo.enter_context(own_checkpointing_off(m.unet))
        undo.enter_context(differentiable_blocks(m.unet))
        for part in TRAINED:
            self._load(part)

    def _restore(self) -> None:
        self._ready.clear()

    def _load(self, part: str) -> None:
        """Onto its device, without anybody's LoRA, and such that gradients can pass."""
        if part in self._ready:
            return
        patchers = self.model.patchers
        kept = [patchers[other] for other in TRAINED if part in TRAINED and other in self._ready]
        with torch.inference_mode(False):
            load(self._memory, [*kept, patchers[part]], self.model.name)
            if part == "te":
                self.model.prepare_text_encoder()
            if part in TRAINED:
                module = patchers[part].model
                thaw(module)
                module.requires_grad_(False)
        self._ready = {other for other in self._ready if _in_place(patchers[other])} | {part}


def load(memory: MemoryManager, patchers: list[Any], where: str) -> None:
    """Move whole models to their devices; others may have to leave. What is merged into them is taken out.

    Raises:
        UserError: there is too little video memory for all of them.
    """
    memory.load_models_gpu(patchers)
    for patcher in patchers:
        require_loaded(patcher.model, torch.device(patcher.load_device), where)


def _in_place(patcher: Any) -> bool:
    return all(p.device.type == torch.device(patcher.load_device).type for p in patcher.model.parameters())
