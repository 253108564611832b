"""A web UI as ``models.base.Host``: what is the same in all of them."""

from __future__ import annotations

import re
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from modules import call_queue, devices, sd_models, sd_samplers
from PIL import Image

from lib_lora.adapters.network import Network
from lib_lora.errors import UserError
from lib_lora.hosts.batches import alike, drawn, room
from lib_lora.hosts.queue_lock import QueueLock
from lib_lora.hosts.requests import check
from lib_lora.hosts.webui.folders import checkpoint_folder, lora_folders
from lib_lora.hosts.webui.generation import draw, kind, progress, stopping
from lib_lora.hosts.webui.model import WebUIModel
from lib_lora.hosts.webui.pictures import WebUiPictures
from lib_lora.hosts.webui.prompt_weights import PromptWeights
from lib_lora.hosts.webui.session import Session
from lib_lora.hosts.webui.settings import data_folder
from lib_lora.models.base import GenerationRequest, Host, HostPaths, ModelInfo

SYNTAX = re.compile(r"[\\()\[\]]")


class WebUIHost(WebUiPictures, ABC):
    """The running web UI: its model, its queue, its samplers and its folders."""

    name: str
    shows_checkpoints = True

    def __init__(self) -> None:
        data = data_folder()
        loras, *more_loras = lora_folders()
        self.paths = HostPaths(loras, checkpoint_folder(), data / "runs", data, tuple(more_loras))
        self.gpu_lock = QueueLock(call_queue.queue_lock, self._lend)
        self._sessions: list[Session] = []

    @property
    def version(self) -> str:
        """The web UI's own, for reports; empty where it does not say."""
        tag = getattr(sys.modules.get("modules.launch_utils"), "git_tag", None)
        try:
            return str(tag()) if tag else ""
        except Exception:  # it asks git, which may be missing
            return ""

    def checkpoints(self) -> list[str]:
        """Names of all checkpoints: paths below the checkpoint folder, with suffix."""
        return sorted({info.name for info in sd_models.checkpoints_list.values()})

    def checkpoint_path(self, name: str) -> Path:
        """The file of a checkpoint; errors as :meth:`load`."""
        return Path(_checkpoint(name).filename)

    def load(self, name: str) -> None:
        """Make a checkpoint the current model. The choice in the top bar stays, and is back with the user's next image.

        Raises:
            UserError: no such checkpoint, or a training that uses the present one.
        """
        wanted = _checkpoint(name)
        with self.gpu_lock:
            present = self.info()
            if present is not None and present.path == Path(wanted.filename):
                return
            if self._sessions:
                trained = None if present is None else present.name
                raise UserError("The model is being trained on", where=trained, fix="Stop the training first")
            self._switch_to(wanted)
            self.gpu_lock.used_by_host()

    @abstractmethod
    def info(self) -> ModelInfo | None:
        """The current model, None while there is none; never loads one."""

    def ensure_loaded(self) -> ModelInfo:
        """The current model; the one chosen in the top bar is loaded where that has not happened yet.

        Raises:
            UserError: there is none.
        """
        with self.gpu_lock:
            self._loaded()
            info = self.info()
        if info is None:
            raise UserError("No model is loaded", fix="Choose a checkpoint in the web UI's top bar")
        return info

    @abstractmethod
    def card_lent(self) -> AbstractContextManager[None]:
        """Leaves the memory of the card to another process meanwhile."""

    @abstractmethod
    def refresh_loras(self) -> None:
        """Let the web UI list its LoRA folder again, and forget what it has read of files that were replaced."""

    @contextmanager
    def training_session(self) -> Iterator[WebUIModel]:
        """The model in order for training; given back as it was, whatever happens. Loads one if none is loaded yet.

        Raises:
            UserError: there is no model, or it cannot be trained on as it is.
        """
        with self.gpu_lock:
            session = self._session(self._loaded())
            session.open()
            self._sessions.append(session)
        try:
            yield session.model
        finally:
            with self.gpu_lock:
                self._sessions.remove(session)
                session.close()

    def waiting(self) -> bool:
        """Whether a generation, or anything else of the web UI's, is queueing."""
        return self.gpu_lock.waiting()

    def literal(self, text: str) -> str:
        """``text`` with parentheses, brackets and backslashes escaped: every web UI weighs by them."""
        return SYNTAX.sub(r"\\\g<0>", text)

    def samplers(self) -> list[str]:
        """The web UI's samplers, each with its own schedule; other schedules are appended: ``"Euler Karras"``."""
        return list(sd_samplers.visible_sampler_names())

    def generate(
        self,
        requests: Sequence[GenerationRequest],
        networks: Sequence[Network] = (),
        on_image: Callable[[int, Image.Image], None] | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> list[Image.Image]:
        """One image per request, in order, by the web UI itself; see :meth:`lib_lora.models.base.Host.generate`."""
        for request in requests:
            check(request, WebUIModel.latent_factor, networks)
        images: dict[int, Image.Image] = {}
        with self.gpu_lock, ExitStack() as around:
            for session in self._sessions:
                session.reclaim()  # a sample shows the model that is being trained on, not one chosen meanwhile
            around.callback(self.gpu_lock.used_by_host)
            self._lend()
            sd_model = self._loaded()
            unet = self._unet(sd_model)
            around.enter_context(self._made_current(sd_model))
            if networks:
                self._attach(networks, sd_model, around)
            around.enter_context(stopping(unet, cancelled))
            batches = alike(requests, kind, partial(self._room, unet))

            def draw_batch(batch: list[int]) -> list[Image.Image]:
                wanted = [requests[i] for i in batch]
                return draw(wanted, sd_model, unet, networks, self._settings(sd_model), self._schedule(sd_model))

            around.enter_context(progress(len(batches)))
            for index, image in drawn(batches, draw_batch):
                images[index] = image
                if on_image is not None:
                    on_image(index, image)
        return [images[index] for index in range(len(requests))]

    def _room(self, unet: Any, request: GenerationRequest) -> int:
        stored = next(unet.parameters()).dtype
        computed = stored if stored.itemsize > 1 else torch.float16  # fp8 is only kept in
        device = torch.device(devices.device)
        away = sum(p.numel() * p.element_size() for p in unet.parameters() if p.device.type != device.type)
        return room(request, WebUIModel.latent_factor, device, computed, away)

    def prompt_weights(self) -> PromptWeights:
        """Schedules of LoRA tags for the user's own images."""
        return PromptWeights(self.paths.lora_folders, self.paths.data, self._untouched_model)

    def _lend(self) -> None:
        for session in self._sessions:
            session.lend()

    def _attach(self, networks: Sequence[Network], sd_model: Any, around: ExitStack) -> None:
        model = self._model(sd_model)
        layers = model.layers()
        for network in networks:
            around.enter_context(network.attached_to(layers))
            model.place(network)

    @abstractmethod
    def _loaded(self) -> Any:
        """The web UI's model; it is loaded where that has not happened yet, UserError if there is none."""

    @abstractmethod
    def _switch_to(self, checkpoint: Any) -> None:
        """Load another checkpoint without touching the user's choice."""

    @abstractmethod
    def _session(self, sd_model: Any) -> Session: ...

    @abstractmethod
    def _model(self, sd_model: Any) -> WebUIModel:
        """For adapters that only generate; UserError where they cannot act."""

    @abstractmethod
    def _untouched_model(self, sd_model: Any) -> WebUIModel:
        """The same while the web UI generates, which has put its model in order itself."""

    @abstractmethod
    def _unet(self, sd_model: Any) -> Any: ...

    def _made_current(self, sd_model: Any) -> AbstractContextManager[Any]:
        """Whatever it takes that the web UI generates with ``sd_model``, around all images."""
        return nullcontext()

    def _settings(self, sd_model: Any) -> Mapping[str, Any]:
        """Settings that it takes, for each image."""
        return {}

    def _schedule(self, sd_model: Any) -> str:
        """Of samplers that are named without one, where the web UI's choice does not work; else empty."""
        return ""


def _checkpoint(name: str) -> Any:
    info = sd_models.checkpoint_aliases.get(name)
    if info is None:
        raise UserError("There is no such checkpoint", where=name, fix="Refresh the list in the web UI's top bar")
    return info


if TYPE_CHECKING:

    def _is_a_host(ours: WebUIHost) -> Host:
        return ours
