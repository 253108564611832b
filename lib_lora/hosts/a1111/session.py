"""The loaded model, borrowed for training and given back as it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from modules import sd_models, sd_unet
from torch import nn

from lib_lora.errors import UserError
from lib_lora.hosts.a1111.leftovers import clean
from lib_lora.hosts.a1111.model import A1111Model
from lib_lora.hosts.a1111.support import require_trainable
from lib_lora.hosts.frozen import frozen
from lib_lora.hosts.queue_lock import QueueLock


class Session:
    """A training's claim to ``shared.sd_model``. Open and close it while holding the lock.

    Whenever the lock was in other hands, the model is put in order again before its next use: a user's image may have
    merged LoRAs into it, moved it, or exchanged its weights for those of another checkpoint.

    Attributes:
        model: what is trained on.
    """

    def __init__(self, sd_model: Any, lock: QueueLock):
        require_trainable(sd_model)
        self.model = A1111Model(sd_model, self.reclaim)
        self._sd_model = sd_model
        self._lock = lock
        self._turn = lock.turn
        self._undo = ExitStack()

    def open(self) -> None:
        """Put the model in order for training; what was done is undone if that fails."""
        m = self._sd_model
        with ExitStack() as undo:
            undo.callback(sd_unet.apply_unet)
            clean(m)
            undo.enter_context(frozen([m.model, m.first_stage_model, m.cond_stage_model]))
            undo.enter_context(own_checkpointing_off(m.model))
            undo.callback(self.model.gradient_checkpointing, False)
            self._undo = undo.pop_all()

    def close(self) -> None:
        """Give the model back."""
        self._undo.close()

    def reclaim(self) -> None:
        """Put the model in order if others may have used it since the last call.

        Raises:
            UserError: it is no longer there.
        """
        if self._turn == self._lock.turn:
            return
        self._keep_checkpoint()
        clean(self._sd_model)
        self._turn = self._lock.turn

    def _keep_checkpoint(self) -> None:
        """Back to our checkpoint if the user has chosen another; theirs comes back with their next image."""
        wanted, data = self.model.checkpoint, sd_models.model_data
        present = data.sd_model
        thrown_away = next(self._sd_model.model.parameters()).is_meta  # a model of another shape took its place
        ours = present is self._sd_model and present.sd_checkpoint_info.filename == wanted.filename
        if not ours and not thrown_away:
            with sd_models.SkipWritingToConfig():
                sd_models.reload_model_weights(info=wanted)
        if thrown_away or data.sd_model is not self._sd_model:
            raise UserError(
                "The web UI has replaced the model that was being trained on",
                where=self.model.name,
                fix="Choose that checkpoint again and resume the run; it goes on from its last saved step",
            )


@contextmanager
def own_checkpointing_off(module: nn.Module) -> Iterator[None]:
    """ldm's gradient checkpointing switched off: with frozen weights it loses the gradients of adapters."""
    found = [
        (m, flag)
        for m in module.modules()
        for flag in ("use_checkpoint", "checkpoint")
        if vars(m).get(flag) is True  # ResBlock and BasicTransformerBlock name their switch differently
    ]
    try:
        for m, flag in found:
            setattr(m, flag, False)
        yield
    finally:
        for m, flag in found:
            setattr(m, flag, True)
