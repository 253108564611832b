"""A1111's model, borrowed for training and given back as it was."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from modules import sd_models, sd_unet, shared
from torch import nn

from lib_lora.errors import UserError
from lib_lora.hosts.a1111.leftovers import clean
from lib_lora.hosts.a1111.model import A1111Model
from lib_lora.hosts.a1111.placement import Placement
from lib_lora.hosts.a1111.support import live_model, require_trainable
from lib_lora.hosts.checkpointing import own_checkpointing_off
from lib_lora.hosts.frozen import frozen
from lib_lora.hosts.queue_lock import QueueLock
from lib_lora.hosts.webui.session import Session
from lib_lora.models.borrowed import borrowing


class A1111Session(Session):
    """A training's claim to ``shared.sd_model``; see :class:`lib_lora.hosts.webui.session.Session`.

    Raises:
        UserError: the model cannot be trained on as it is.
    """

    def __init__(self, sd_model: Any, lock: QueueLock):
        require_trainable(sd_model)
        self.model: A1111Model
        super().__init__(live_model(sd_model, self.reclaim), lock)
        self._sd_model = sd_model
        moves = getattr(sd_model, "lowvram", False)  # --medvram, or --lowvram
        self._by_blocks = bool(moves and shared.cmd_opts.lowvram)
        self._placement = Placement(self._moved()) if moves else None

    def _moved(self) -> dict[str, nn.Module]:
        """What we move ourselves; blocks of the U-Net come by the web UI's hooks."""
        return {name: m for name, m in self.model.movable.items() if not (self._by_blocks and name == "unet")}

    def lend(self) -> None:
        """Let the web UI have the model for a picture; parts go where it expects them."""
        if self._placement is not None:
            self._placement.lend()

    def _prepare(self, undo: ExitStack) -> None:
        m = self._sd_model
        if self._placement is not None:
            self._placement.take()
            undo.callback(self._placement.lend)
        undo.callback(sd_unet.apply_unet)
        clean(m)
        undo.enter_context(frozen([m.model, m.first_stage_model, m.cond_stage_model]))
        undo.enter_context(own_checkpointing_off(m.model))
        # by blocks: when gradients come back through one, it has left the GPU again
        undo.enter_context(borrowing([m.model], self.model.device, always=self._by_blocks))
        undo.enter_context(borrowing([m.cond_stage_model], self.model.device))

    def _restore(self) -> None:
        self._keep_checkpoint()
        clean(self._sd_model)
        if self._placement is not None:
            self._placement.take()

    def _load(self, part: str) -> None:
        if self._placement is not None:
            self._placement.bring(part)

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
