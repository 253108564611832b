"""A web UI with ``forge_objects`` as ``models.base.Host``."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from modules import sd_models

from lib_lora.hosts.forge_objects.model import ForgeObjectsModel
from lib_lora.hosts.forge_objects.session import ForgeObjectsSession, MemoryManager, load
from lib_lora.hosts.webui import lora_extension
from lib_lora.hosts.webui.host import WebUIHost
from lib_lora.hosts.webui.model import do_nothing


class ForgeObjectsHost(WebUIHost):
    """What the hosts of Forge's kind share."""

    _sessions: list[ForgeObjectsSession]
    _memory: MemoryManager

    @contextmanager
    def card_lent(self) -> Iterator[None]:
        """The web UI's memory manager sends everything away; what is used next it loads by itself."""
        with torch.inference_mode():
            self._memory.unload_all_models()
            self._memory.soft_empty_cache()
        yield

    def refresh_loras(self) -> None:
        """Let the web UI list its LoRA folder again, and forget what it has read of files that were replaced.

        It would use the old weights of a name that it knows: the file's tensors are cached by path, and the model is
        not patched again where path and weight are the same.
        """
        lora_extension.forget_files()
        for sd_model in {id(m): m for m in (sd_models.model_data.sd_model, self._borrowed())}.values():
            if hasattr(sd_model, "forge_objects"):
                sd_model.current_lora_hash = ""
                self._forget_merged(sd_model)
        lora_extension.list_again()

    def _borrowed(self) -> Any:
        """The model that is being trained on, whichever the user has chosen meanwhile."""
        return self._sessions[0].model.sd_model if self._sessions else None

    def _loaded(self) -> Any:
        return self._borrowed() or self._current()

    def _unet(self, sd_model: Any) -> Any:
        return sd_model.forge_objects_original.unet.model.diffusion_model

    def _model(self, sd_model: Any) -> ForgeObjectsModel:
        self._require_supported(sd_model)

        def ready(part: str) -> None:
            load(self._memory, [model.patchers[part]])

        model = self._make_model(sd_model, ready)
        return model

    def _untouched_model(self, sd_model: Any) -> ForgeObjectsModel:
        self._require_supported(sd_model)
        return self._make_model(sd_model, do_nothing)

    @contextmanager
    def _made_current(self, sd_model: Any) -> Iterator[None]:
        """The model that is being trained on in the place of the one that the user has chosen meanwhile."""
        data = sd_models.model_data
        before = data.sd_model
        data.sd_model = sd_model
        try:
            yield
        finally:
            data.sd_model = before

    @abstractmethod
    def _current(self) -> Any:
        """The chosen model, loaded where that has not happened yet."""

    @abstractmethod
    def _require_supported(self, sd_model: Any) -> None:
        """UserError where adapters cannot act."""

    @abstractmethod
    def _make_model(self, sd_model: Any, ready: Any) -> ForgeObjectsModel: ...

    def _forget_merged(self, sd_model: Any) -> None:
        """Have the weights patched again at the next image."""
