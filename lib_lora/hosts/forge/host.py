"""Forge as ``models.base.Host``.

Forge runs what is started in its page on the main thread, but takes the queue's lock first, and runs what its API is
asked for in that request's thread. So the lock alone keeps us apart from it, in a thread of our own.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import backend.nn.unet
from backend import memory_management
from backend.attention import attention_pytorch
from modules import sd_models

from lib_lora.errors import UserError
from lib_lora.hosts.forge.model import PREDICTIONS, ForgeModel
from lib_lora.hosts.forge.transformer import can_be_trained, differentiable, forge_model, transformer_family
from lib_lora.hosts.forge_objects.blocks import differentiable_attention
from lib_lora.hosts.forge_objects.host import ForgeObjectsHost
from lib_lora.hosts.forge_objects.session import ForgeObjectsSession
from lib_lora.hosts.forge_objects.support import require_family
from lib_lora.hosts.webui.family import CLIP_LAYERS, family
from lib_lora.hosts.webui.outline import outline
from lib_lora.models.base import ModelInfo
from lib_lora.models.families import families


class ForgeHost(ForgeObjectsHost):
    """The running web UI, whose model is loaded with the first image after it was chosen."""

    name = "forge"

    def __init__(self) -> None:
        super().__init__()
        self._memory = memory_management
        self._loaded_over = ""  # the user's choice at the time when we loaded another checkpoint

    def info(self) -> ModelInfo | None:
        """The model being trained on, else the chosen one, which may not have been loaded yet; None if there is none.

        Until a checkpoint is loaded, the header of its file says what it is.
        """
        sd_model = self._borrowed() or (sd_models.model_data.sd_model if self._is_loaded() else None)
        if sd_model is None:
            chosen = sd_models.model_data.forge_loading_parameters.get("checkpoint_info")
            return None if chosen is None else _described(chosen, *outline(Path(chosen.filename)))
        prediction = PREDICTIONS.get(getattr(self._predictor(sd_model), "prediction_type", ""), "epsilon")
        transformer = transformer_family(sd_model)
        kind = family(sd_model) if transformer is None else transformer.name
        return _described(sd_model.sd_checkpoint_info, kind, prediction)

    def _is_loaded(self) -> bool:
        data = sd_models.model_data
        current = str(data.forge_loading_parameters) in (data.forge_hash, self._loaded_over)
        return current and hasattr(data.sd_model, "forge_objects")

    def _current(self) -> Any:
        data = sd_models.model_data
        if not self._is_loaded():
            if data.forge_loading_parameters.get("checkpoint_info") is None:
                raise UserError("No model is chosen", fix="Choose a checkpoint at the top of the page")
            self._reload()
        return data.sd_model

    def _switch_to(self, checkpoint: Any) -> None:
        data = sd_models.model_data
        chosen = data.forge_loading_parameters
        data.forge_loading_parameters = {**chosen, "checkpoint_info": checkpoint}
        try:
            self._reload()
            self._loaded_over = str(chosen)
        finally:
            data.forge_loading_parameters = chosen

    def _reload(self) -> None:
        self._loaded_over = ""
        try:
            sd_models.forge_model_reload()
        except Exception:
            sd_models.model_data.forge_hash = ""  # else Forge takes the model that failed for loaded
            raise

    def _session(self, sd_model: Any) -> ForgeObjectsSession:
        self._require_supported(sd_model)
        attention = partial(differentiable_attention, backend.nn.unet, ["attention_function"], attention_pytorch)
        if transformer_family(sd_model) is not None:
            attention = partial(differentiable, self._unet(sd_model), attention_pytorch)
        return ForgeObjectsSession(partial(forge_model, sd_model), self.gpu_lock, memory_management, attention)

    def _make_model(self, sd_model: Any, ready: Any) -> ForgeModel:
        return forge_model(sd_model, ready)

    def _require_supported(self, sd_model: Any) -> None:
        where = sd_model.sd_checkpoint_info.name
        transformer = transformer_family(sd_model)
        if transformer is None:
            require_family(sd_model, sd_model.is_inpaint)
        elif not can_be_trained(sd_model):
            what = f"{transformer.label} cannot be trained in this web UI yet"
            raise UserError(
                what, where=where, fix="Choose Anima, Z-Image, Flux or Chroma here, or train it without a web UI"
            )
        predicts = self._predictor(sd_model).prediction_type
        if predicts not in PREDICTIONS:
            what = f"The model predicts by {predicts}"
            raise UserError(what, where=where, fix="Choose an epsilon or v-prediction model")

    def _schedule(self, sd_model: Any) -> str:
        """What Neo takes for transformers: that of a U-Net ends twice at 0 where it flows, and it divides by that."""
        flows = self._predictor(sd_model).prediction_type == "const"
        return "Normal" if flows and transformer_family(sd_model) is None else ""

    @contextmanager
    def _made_current(self, sd_model: Any) -> Iterator[None]:
        data = sd_models.model_data
        before = data.forge_hash
        data.forge_hash = str(data.forge_loading_parameters)  # Forge loads nothing where the two are equal
        try:
            with super()._made_current(sd_model):
                yield
        finally:
            data.forge_hash = before

    @staticmethod
    def _predictor(sd_model: Any) -> Any:
        return sd_model.forge_objects_original.unet.model.predictor

    def _forget_merged(self, sd_model: Any) -> None:
        objects = sd_model.forge_objects_original
        for patcher in (objects.unet, objects.clip.patcher):
            loader = getattr(patcher, "lora_loader", None)  # Neo patches again at each change of ``current_lora_hash``
            if loader is not None:
                loader.loaded_hash = ""


def _described(checkpoint: Any, kind: str, prediction: str) -> ModelInfo:
    path = Path(checkpoint.filename)
    known = families().get(kind)
    text_layers = CLIP_LAYERS if known is None or known.clip_skip else 1
    factor = ForgeModel.latent_factor if known is None else known.latents.factor
    return ModelInfo(checkpoint.name, path, kind, prediction, factor, text_layers)
