"""A model in ``forge_objects``, borrowed for training and given back as it was."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from typing import Any, Protocol

import torch

from lib_lora.hosts.checkpointing import own_checkpointing_off
from lib_lora.hosts.forge_objects.blocks import differentiable_blocks
from lib_lora.hosts.forge_objects.model import ForgeObjectsModel
from lib_lora.hosts.forge_objects.thaw import thaw
from lib_lora.hosts.frozen import frozen
from lib_lora.hosts.queue_lock import QueueLock
from lib_lora.hosts.webui.session import Session
from lib_lora.models.borrowed import borrowing

TRAINED = ("unet", "te")


class MemoryManager(Protocol):
    """``backend.memory_management`` or ``ldm_patched.modules.model_management``."""

    def load_models_gpu(self, models: list[Any]) -> None:
        """Bring patchers to where they compute, and make room for them."""

    def soft_empty_cache(self) -> None:
        """Give back memory of the card that nothing uses."""

    def unload_all_models(self) -> None:
        """Take all patchers off the card."""


class ForgeObjectsSession(Session):
    """A training's claim to a model; see :class:`lib_lora.hosts.webui.session.Session`.

    The parts are loaded through the host's memory manager, so it knows where they are, puts as much of them on the card
    as its settings leave room for, and may put them elsewhere as soon as the lock is free. Weights that stay in main
    memory, are packed, or were made in inference mode are borrowed for each use, not copied. When the user chooses
    another checkpoint, ours stays with us: nothing is read again.

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
        self._here: dict[str, int] = {}  # part -> its parameters on the card when it was loaded in this turn
        self._learning: set[str] = set()  # parts that gradients pass

    def _prepare(self, undo: ExitStack) -> None:
        m = self.model
        undo.callback(self._memory.soft_empty_cache)
        undo.enter_context(self._attention())
        undo.enter_context(frozen([m.unet, m.text_encoder]))
        undo.enter_context(own_checkpointing_off(m.unet))
        undo.enter_context(differentiable_blocks(m.unet))
        for part, module in (("unet", m.unet), ("te", m.text_encoder)):
            undo.enter_context(borrowing([module], m.device_of(part)))
        with torch.no_grad():  # whether gradients pass a part is seen when it is used
            for part in TRAINED:
                self._load(part)

    def _restore(self) -> None:
        self._here.clear()

    def _load(self, part: str) -> None:
        """Without anybody's LoRA, and such that gradients can pass; the text encoder may leave where none do."""
        if part in TRAINED and torch.is_grad_enabled():
            self._learning.add(part)
        if part in self._here:
            return
        patchers = self.model.patchers
        kept = [patchers[other] for other in TRAINED if other in self._learning & set(self._here) - {part}]
        load(self._memory, [*kept, patchers[part]])
        with torch.inference_mode():
            if part == "te":
                self.model.prepare_text_encoder()
            if part in TRAINED:
                patchers[part].model.requires_grad_(False)
        if part in TRAINED:
            thaw(patchers[part].model)
        stayed = {other: count for other, count in self._here.items() if _on_card(patchers[other]) == count}
        self._here = {**stayed, part: _on_card(patchers[part])}


def load(memory: MemoryManager, patchers: list[Any]) -> None:
    """Move models to their devices, as far as the host finds room; what is merged into them is taken out.

    In inference mode, as for the web UI's own images: a parameter that was made in it has to be moved in it.
    """
    with torch.inference_mode():
        memory.load_models_gpu(patchers)


def _on_card(patcher: Any) -> int:
    device = torch.device(patcher.load_device).type
    return sum(p.device.type == device for p in patcher.model.parameters())
