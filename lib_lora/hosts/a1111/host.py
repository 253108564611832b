"""AUTOMATIC1111's web UI as ``models.base.Host``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from modules import call_queue, paths, sd_models, sd_samplers, shared
from PIL import Image

from lib_lora.adapters.network import Network
from lib_lora.errors import UserError
from lib_lora.hosts.a1111.generation import draw, progress, stopping
from lib_lora.hosts.a1111.leftovers import clean
from lib_lora.hosts.a1111.model import A1111Model
from lib_lora.hosts.a1111.session import Session
from lib_lora.hosts.a1111.support import family, require_trainable, text_layers
from lib_lora.hosts.queue_lock import QueueLock
from lib_lora.hosts.requests import check
from lib_lora.hosts.web_ui_pictures import WebUiPictures
from lib_lora.models.base import GenerationRequest, HostPaths, ModelInfo


class A1111Host(WebUiPictures):
    """The running web UI: its model, its queue, its samplers and its folders."""

    name = "a1111"

    def __init__(self) -> None:
        data = Path(paths.data_path) / "lora_workbench"
        checkpoints = shared.cmd_opts.ckpt_dir or Path(paths.models_path) / "Stable-diffusion"
        self.paths = HostPaths(Path(shared.cmd_opts.lora_dir), Path(checkpoints), data / "runs", data)
        self.gpu_lock = QueueLock(call_queue.queue_lock)
        self._sessions: list[Session] = []

    def checkpoints(self) -> list[str]:
        """Names of all checkpoints: paths below the checkpoint folder, with suffix."""
        return sorted({info.name for info in sd_models.checkpoints_list.values()})

    def load(self, name: str) -> None:
        """Make a checkpoint the current model. The choice in the top bar stays, and is back with the user's next image.

        Raises:
            UserError: no such checkpoint, or a training that uses the present one.
        """
        info = sd_models.checkpoint_aliases.get(name)
        if info is None:
            raise UserError("There is no such checkpoint", where=name, fix="Refresh the list in the web UI's top bar")
        with self.gpu_lock:
            present = self.info()
            if present is not None and present.path == Path(info.filename):
                return
            if self._sessions:
                raise UserError("The model is being trained on", where=present.name, fix="Stop the training first")
            with sd_models.SkipWritingToConfig():
                sd_models.reload_model_weights(info=info)
            self.gpu_lock.used_by_host()

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
    def training_session(self) -> Iterator[A1111Model]:
        """The model in order for training; given back as it was, whatever happens. Loads one if none is loaded yet.

        Raises:
            UserError: there is no model, or it cannot be trained on as it is.
        """
        with self.gpu_lock:
            session = Session(self._loaded(), self.gpu_lock)
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

    def samplers(self) -> list[str]:
        """The web UI's samplers, each with its own schedule; other schedules are appended: ``"Euler Karras"``."""
        return sd_samplers.visible_sampler_names()

    def generate(
        self,
        requests: Sequence[GenerationRequest],
        networks: Sequence[Network] = (),
        on_image: Callable[[int, Image.Image], None] | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> list[Image.Image]:
        """One image per request, in order, by the web UI itself; see :meth:`lib_lora.models.base.Host.generate`."""
        for request in requests:
            check(request, A1111Model.latent_factor, networks)
        images = []
        with self.gpu_lock, ExitStack() as around:
            for session in self._sessions:
                session.reclaim()  # a sample shows the model that is being trained on, not one chosen meanwhile
            sd_model = self._loaded()
            around.callback(self.gpu_lock.used_by_host)
            if networks:
                self._attach(networks, sd_model, around)
            around.enter_context(stopping(sd_model.model.diffusion_model, cancelled))
            around.enter_context(progress(len(requests)))
            for index, request in enumerate(requests):
                image = draw(request, sd_model, networks)
                images.append(image)
                if on_image is not None:
                    on_image(index, image)
        return images

    def refresh_loras(self) -> None:
        """Let the built-in Lora extension list its folder again; a file that was replaced it reloads by its date."""
        networks = sys.modules.get("networks")
        if networks is not None:
            networks.list_available_networks()

    def _attach(self, networks: Sequence[Network], sd_model: Any, around: ExitStack) -> None:
        require_trainable(sd_model)
        clean(sd_model)
        layers = A1111Model(sd_model).layers()
        for network in networks:
            around.enter_context(network.attached_to(layers))

    def _loaded(self) -> Any:
        sd_model = shared.sd_model  # loads one where that has not happened yet
        if sd_model is None:
            raise UserError("No model is loaded", fix="Choose a checkpoint in the web UI's top bar")
        return sd_model
