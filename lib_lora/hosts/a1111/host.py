"""AUTOMATIC1111's web UI as ``models.base.Host``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from modules import sd_models

from lib_lora.hosts.a1111.leftovers import clean
from lib_lora.hosts.a1111.model import A1111Model
from lib_lora.hosts.a1111.session import A1111Session
from lib_lora.hosts.a1111.support import live_model, require_family, require_trainable
from lib_lora.hosts.webui import lora_extension, shared_model
from lib_lora.hosts.webui.family import family, text_layers
from lib_lora.hosts.webui.host import WebUIHost
from lib_lora.models.base import ModelInfo


class A1111Host(WebUIHost):
    """The running web UI, whose model is an ldm module tree in ``shared.sd_model``."""

    name = "a1111"

    def info(self) -> ModelInfo | None:
        """The current model, None while there is none; never loads one."""
        sd_model = sd_models.model_data.sd_model
        if sd_model is None:
            return None
        checkpoint = sd_model.sd_checkpoint_info
        prediction = "v" if getattr(sd_model, "parameterization", "eps") == "v" else "epsilon"
        kind, layers = family(sd_model), text_layers(sd_model)
        return ModelInfo(checkpoint.name, Path(checkpoint.filename), kind, prediction, A1111Model.latent_factor, layers)

    @contextmanager
    def card_lent(self) -> Iterator[None]:
        """The model goes to main memory and comes back."""
        sd_model = sd_models.model_data.sd_model
        if sd_model is not None:
            sd_models.send_model_to_cpu(sd_model)
        try:
            yield
        finally:
            if sd_model is not None:
                sd_models.send_model_to_device(sd_model)

    def refresh_loras(self) -> None:
        """Let the built-in Lora extension list its folder again; a file that was replaced it reloads by its date."""
        lora_extension.list_again()

    def _loaded(self) -> Any:
        return shared_model.loaded()

    def _switch_to(self, checkpoint: Any) -> None:
        shared_model.switch_to(checkpoint)

    def _session(self, sd_model: Any) -> A1111Session:
        return A1111Session(sd_model, self.gpu_lock)

    def _model(self, sd_model: Any) -> A1111Model:
        require_trainable(sd_model)
        clean(sd_model)
        return live_model(sd_model)

    def _untouched_model(self, sd_model: Any) -> A1111Model:
        require_family(sd_model)
        return live_model(sd_model)

    def _unet(self, sd_model: Any) -> Any:
        return sd_model.model.diffusion_model

    def _settings(self, sd_model: Any) -> Mapping[str, Any]:
        # else the one chosen in the top bar gets loaded
        return {"sd_model_checkpoint": sd_model.sd_checkpoint_info.title}
