"""Forge-Classic and reForge as ``models.base.Host``."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from ldm_patched.ldm.modules import attention
from ldm_patched.modules import model_management
from modules import sd_models

from lib_lora.errors import UserError
from lib_lora.hosts.forge_objects.blocks import differentiable_attention
from lib_lora.hosts.forge_objects.host import ForgeObjectsHost
from lib_lora.hosts.forge_objects.session import ForgeObjectsSession
from lib_lora.hosts.forge_objects.support import require_family
from lib_lora.hosts.ldm_patched.model import LdmPatchedModel, ldm_patched_model
from lib_lora.hosts.webui import shared_model
from lib_lora.hosts.webui.family import family, text_layers
from lib_lora.models.base import ModelInfo

ATTENTION = ("optimized_attention", "optimized_attention_masked")  # Sage's and Flash's have no backward pass


class LdmPatchedHost(ForgeObjectsHost):
    """The running web UI, which loads models as A1111 does and builds them as Forge does."""

    name = "ldm_patched"

    def __init__(self) -> None:
        super().__init__()
        self._memory = model_management

    def info(self) -> ModelInfo | None:
        """The model being trained on, else the current one, None while there is none; never loads one."""
        sd_model = self._borrowed() or sd_models.model_data.sd_model
        if sd_model is None:
            return None
        checkpoint = sd_model.sd_checkpoint_info
        prediction = "v" if getattr(sd_model, "parameterization", "eps") == "v" else "epsilon"
        path, kind, layers = Path(checkpoint.filename), family(sd_model), text_layers(sd_model)
        return ModelInfo(checkpoint.name, path, kind, prediction, LdmPatchedModel.latent_factor, layers)

    def _current(self) -> Any:
        return shared_model.loaded()

    def _switch_to(self, checkpoint: Any) -> None:
        shared_model.switch_to(checkpoint)

    def _session(self, sd_model: Any) -> ForgeObjectsSession:
        self._require_supported(sd_model)
        safe = partial(differentiable_attention, attention, ATTENTION, attention.attention_pytorch)
        return ForgeObjectsSession(partial(ldm_patched_model, sd_model), self.gpu_lock, model_management, safe)

    def _make_model(self, sd_model: Any, ready: Any) -> LdmPatchedModel:
        return ldm_patched_model(sd_model, ready)

    def _require_supported(self, sd_model: Any) -> None:
        where = sd_model.sd_checkpoint_info.name
        objects = sd_model.forge_objects_original
        require_family(sd_model, getattr(objects.unet.model, "inpaint_model", False))
        if not hasattr(objects.clip.cond_stage_model.clip_l.transformer, "config"):
            raise UserError(
                "This web UI builds text encoders of its own, which cannot be trained on yet",
                where=where,
                fix="Use Forge, Forge-Classic or AUTOMATIC1111",
            )

    def _settings(self, sd_model: Any) -> Mapping[str, Any]:
        # else the one chosen in the top bar gets loaded
        return {"sd_model_checkpoint": sd_model.sd_checkpoint_info.title}
