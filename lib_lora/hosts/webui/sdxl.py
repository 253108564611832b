"""SDXL in a web UI as ``models.base.LoadedModel``."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from lib_lora.hosts.sdxl import XLModel
from lib_lora.hosts.webui.model import WebUIModel


class WebUIXLModel(XLModel, WebUIModel):
    """To be mixed into a web UI's own model. Arguments as :class:`WebUIModel`."""

    def _using(self, part: str) -> AbstractContextManager[Any]:
        self._ready(part)
        return self._precision()
