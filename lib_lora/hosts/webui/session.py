"""The loaded model, borrowed for training and given back as it was."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import ExitStack

from lib_lora.hosts.queue_lock import QueueLock
from lib_lora.hosts.webui.model import WebUIModel


class Session(ABC):
    """A training's claim to the web UI's model. Open and close it while holding the lock.

    Whenever the lock was in other hands, the model is put in order again before its next use: a user's image may have
    merged LoRAs into it, moved it, or exchanged it.

    Args:
        model: what is trained on.
        lock: the web UI's queue.
    """

    def __init__(self, model: WebUIModel, lock: QueueLock):
        self.model = model
        self._lock = lock
        self._turn = lock.turn
        self._undo = ExitStack()

    def open(self) -> None:
        """Put the model in order for training; what was done is undone if that fails."""
        with ExitStack() as undo:
            self._prepare(undo)
            undo.callback(self.model.gradient_checkpointing, False)
            self._undo = undo.pop_all()

    def close(self) -> None:
        """Give the model back."""
        self._undo.close()

    def reclaim(self, part: str | None = None) -> None:
        """Put the model in order if others may have used it since the last call.

        Args:
            part: ``"unet"``, ``"te"`` or ``"vae"``, which is about to be used; None for none yet.

        Raises:
            UserError: it is no longer there.
        """
        if self._turn != self._lock.turn:
            self._restore()
            self._turn = self._lock.turn
        if part is not None:
            self._load(part)

    def lend(self) -> None:  # noqa: B027 — only hosts that move parts of the model about have work here
        """Others use the model from now on, until the next :meth:`reclaim`."""

    @abstractmethod
    def _prepare(self, undo: ExitStack) -> None:
        """The work of :meth:`open`; whatever is changed is put on ``undo`` first."""

    @abstractmethod
    def _restore(self) -> None:
        """Take out what others left in the model."""

    def _load(self, part: str) -> None:  # noqa: B027 — only hosts that move parts of the model about have work here
        """See to it that a part is where it can be trained."""
