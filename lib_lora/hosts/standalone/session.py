"""Borrowing a model for training, and giving it back as it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from lib_lora.hosts.frozen import frozen
from lib_lora.hosts.standalone.sampling import Standalone


@contextmanager
def borrowed(model: Standalone) -> Iterator[Standalone]:
    """The model frozen and in evaluation mode; flags and modes come back at the end, gradients do not stay."""
    with frozen(list(model.modules.values())):
        try:
            yield model
        finally:
            model.gradient_checkpointing(False)
            model.put_text_away(False)
