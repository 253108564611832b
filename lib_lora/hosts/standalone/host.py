"""A host of our own: one model in memory, images through diffusers' schedulers, no web UI."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from PIL import Image

from lib_lora.adapters.network import Network
from lib_lora.errors import UserError
from lib_lora.hosts.batches import drawn
from lib_lora.hosts.gpu_lock import GpuLock
from lib_lora.hosts.requests import check
from lib_lora.hosts.standalone.checkpoint import SUFFIXES, load_checkpoint
from lib_lora.hosts.standalone.dit.loading import folders_in, load_file, load_folder, transformer_family
from lib_lora.hosts.standalone.infotext import infotext
from lib_lora.hosts.standalone.prompt_tags import tags_applied
from lib_lora.hosts.standalone.samplers import SAMPLERS
from lib_lora.hosts.standalone.sampling import Standalone, batches, decode, sample
from lib_lora.hosts.standalone.session import borrowed
from lib_lora.models.base import GenerationRequest, Host, HostPaths, ModelInfo
from lib_lora.models.memory import forget_free_memory
from lib_lora.tools.prompt_loras import PromptLora, all_tags

LANCZOS = "Lanczos"


class StandaloneHost:
    """Implements :class:`lib_lora.models.base.Host` on diffusers and transformers.

    Args:
        paths: the host's folders; they need not exist yet.
        more_checkpoints: further checkpoint files, and folders to look for checkpoints in.
        device: where the model runs; CUDA if there is one.
        dtype: of U-Net and text encoder; float16 on a GPU, as web UIs load them, else float32.
    """

    name = "standalone"
    shows_checkpoints = False

    def __init__(
        self,
        paths: HostPaths,
        more_checkpoints: Sequence[Path] = (),
        device: str | torch.device | None = None,
        dtype: torch.dtype | None = None,
    ):
        self.paths = paths
        self.gpu_lock = GpuLock()
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.dtype = dtype or (torch.float32 if self.device.type == "cpu" else torch.float16)
        self._places = (paths.checkpoints, *more_checkpoints)
        self._model: Standalone | None = None
        self._sessions = 0

    def checkpoints(self) -> list[str]:
        """Checkpoint files and folders of diffusers, relative to where they lie and without suffix."""
        return sorted(self._files())

    def checkpoint_path(self, name: str) -> Path:
        """The file of a checkpoint.

        Raises:
            UserError: no such checkpoint.
        """
        path = self._files().get(name)
        if path is None:
            raise UserError("There is no such checkpoint", where=name, fix=f"Put it into {self.paths.checkpoints}")
        return path

    def load(self, name: str) -> None:
        """Make a checkpoint the current model; until it is complete, the present one stays.

        Raises:
            UserError: no such checkpoint, a file that cannot be loaded, or a training that uses the present one.
        """
        with self.gpu_lock:
            path = self.checkpoint_path(name)
            if self._model is not None and self._model.path == path:
                return
            if self._sessions and self._model is not None:
                raise UserError("The model is being trained on", where=self._model.name, fix="Stop the training first")
            self._model = self._read(path, name)

    def _read(self, path: Path, name: str) -> Standalone:
        if path.is_dir():
            return load_folder(path, name, self.device, self.dtype)
        if path.suffix == ".safetensors" and transformer_family(path) is not None:
            folders = [folder for place in self._places for folder in folders_in(place)]
            return load_file(path, name, folders, self.device, self.dtype)
        return load_checkpoint(path, name, self.device, self.dtype)

    def info(self) -> ModelInfo | None:
        """The current model, None before the first :meth:`load`."""
        return None if self._model is None else self._info(self._model)

    @staticmethod
    def _info(m: Standalone) -> ModelInfo:
        return ModelInfo(m.name, m.path, m.family, m.prediction, m.latent_factor, m.max_clip_skip)

    def ensure_loaded(self) -> ModelInfo:
        """The current model; UserError before the first :meth:`load`, for there is no choice to follow."""
        return self._info(self._loaded())

    @contextmanager
    def training_session(self) -> Iterator[Standalone]:
        """The model, frozen and in evaluation mode; given back as it was, whatever happens.

        The lock is not held: take ``gpu_lock`` around every slice of work.
        """
        model = self._loaded()
        self._sessions += 1
        try:
            with borrowed(model):
                yield model
        finally:
            self._sessions -= 1

    @contextmanager
    def card_lent(self) -> Iterator[None]:
        """The model is let go of, and read again afterwards."""
        known = None if self._model is None else (self._model.path, self._model.name)
        self._model = None
        gc.collect()
        forget_free_memory()
        try:
            yield
        finally:
            if known is not None:
                self._model = self._read(*known)

    def waiting(self) -> bool:
        """Whether another thread wants the model."""
        return self.gpu_lock.waiting()

    def literal(self, text: str) -> str:
        """``text`` itself: nothing is syntax here."""
        return text

    def samplers(self) -> list[str]:
        """Sampler names for :class:`GenerationRequest`."""
        return list(SAMPLERS)

    def generate(
        self,
        requests: Sequence[GenerationRequest],
        networks: Sequence[Network] = (),
        on_image: Callable[[int, Image.Image], None] | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> list[Image.Image]:
        """One image per request, in order; see :meth:`lib_lora.models.base.Host.generate`.

        Every image carries its parameters in ``info["parameters"]``.
        """
        images: dict[int, Image.Image] = {}
        with self.gpu_lock, ExitStack() as attached:
            model = self._loaded()
            for request in requests:
                check(request, model.latent_factor, networks)
            layers = model.layers() if networks else {}
            for network in networks:
                attached.enter_context(network.attached_to(layers))
            for tags, indices, plain in self._by_tags(requests):

                def draw(batch: list[int], tags: Any = tags, plain: Any = plain) -> list[Image.Image]:
                    first = plain[batch[0]]
                    paths = self.paths
                    with tags_applied(model, tags, paths.lora_folders, paths.data, first.steps, first.seed):
                        return decode(model, sample(model, [plain[i] for i in batch], networks, cancelled))

                for place, image in drawn(batches(model, plain), draw):
                    i = indices[place]
                    image.info["parameters"] = infotext(requests[i], model.name, model.hashes()["model"], networks)
                    images[i] = image
                    if on_image is not None:
                        on_image(i, image)
        return [images[i] for i in range(len(requests))]

    @staticmethod
    def _by_tags(
        requests: Sequence[GenerationRequest],
    ) -> list[tuple[tuple[PromptLora, ...], list[int], list[GenerationRequest]]]:
        """The requests whose prompts name the same LoRAs: these tags, their indices, and they without tags."""
        groups: dict[tuple[PromptLora, ...], tuple[list[int], list[GenerationRequest]]] = {}
        for index, request in enumerate(requests):
            rest, tags = all_tags(request.prompt)
            indices, plain = groups.setdefault(tuple(tags), ([], []))
            indices.append(index)
            plain.append(replace(request, prompt=rest) if tags else request)
        return [(tags, indices, plain) for tags, (indices, plain) in groups.items()]

    def refresh_loras(self) -> None:
        """Nothing to tell anybody: LoRA files are looked up when they are used."""

    def upscalers(self) -> list[str]:
        """Only resampling: there is no upscaling model of our own."""
        return [LANCZOS]

    def upscale(self, name: str, image: Image.Image, factor: float) -> Image.Image:
        """See :meth:`lib_lora.models.base.Host.upscale`."""
        if name != LANCZOS:
            raise UserError("There is no such upscaler", where=name, fix=f"Use {LANCZOS}")
        return image.resize((round(image.width * factor), round(image.height * factor)), Image.Resampling.LANCZOS)

    def taggers(self) -> list[str]:
        """None of our own; a tagger in ONNX needs no host."""
        return []

    def tag_probabilities(self, name: str, image: Image.Image) -> dict[str, float]:
        """See :meth:`lib_lora.models.base.Host.tag_probabilities`."""
        raise UserError("There is no such tagger", where=name, fix="Give the folder of a tagger model")

    def _loaded(self) -> Standalone:
        if self._model is None:
            raise UserError("No model is loaded", fix="Choose a checkpoint first")
        return self._model

    def _files(self) -> dict[str, Path]:
        """Name -> file, or diffusers' folder; of two of one name the safetensors, and the earlier place, wins."""
        found: dict[str, Path] = {}
        for place in self._places:
            if place.is_file():
                found.setdefault(place.stem, place)
                continue
            folders = folders_in(place)
            for folder in folders:
                found.setdefault(folder.relative_to(place).as_posix() if folder != place else folder.name, folder)
            for suffix in SUFFIXES:
                for file in sorted(place.rglob(f"*{suffix}")):
                    if any(folder in file.parents for folder in folders):
                        continue
                    found.setdefault(file.relative_to(place).with_suffix("").as_posix(), file)
        return found


if TYPE_CHECKING:

    def _is_a_host(ours: StandaloneHost) -> Host:
        return ours
