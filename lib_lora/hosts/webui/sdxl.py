"""SDXL in a web UI as ``models.base.LoadedModel``."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from torch import nn

from lib_lora.hosts.live_layers import live_layers
from lib_lora.hosts.sdxl import XLModel
from lib_lora.hosts.webui.model import WebUIModel


class WebUIXLModel(XLModel, WebUIModel):
    """To be mixed into a web UI's own model. Arguments as :class:`WebUIModel`."""

    def _unet_layers(self) -> dict[str, nn.Module]:
        return live_layers("unet", self.unet)  # SDXL's LoRA files have ldm's names

    def _using(self, part: str) -> AbstractContextManager[Any]:
        self._ready(part)
        return self._precision(part)
