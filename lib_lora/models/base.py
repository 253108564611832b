"""What the rest of the program may ask of a base model and of the host that it lives in."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor, nn

from lib_lora.models.schedule import Schedule
from lib_lora.places import Places

if TYPE_CHECKING:
    from PIL import Image


@dataclass(frozen=True)
class HostPaths:
    """Folders of a host.

    Args:
        loras: where the host looks for LoRA files; ours are written there.
        checkpoints: where the host looks for base models.
        runs: one folder per training run.
        data: settings, presets and caches of this program.
        more_loras: further folders where the host looks for LoRA files; only read.
    """

    loras: Path
    checkpoints: Path
    runs: Path
    data: Path
    more_loras: tuple[Path, ...] = ()

    @property
    def places(self) -> Places:
        """What lies where in ``data``."""
        return Places(self.data)

    @property
    def lora_folders(self) -> tuple[Path, ...]:
        """All folders of LoRA files, in the order in which a name is looked up."""
        return (self.loras, *self.more_loras)

    @property
    def folders(self) -> tuple[Path, ...]:
        """All folders."""
        return (*self.lora_folders, self.checkpoints, self.runs, self.data)


@dataclass(frozen=True)
class ModelInfo:
    """The model that a host has loaded, as far as one can tell without touching it.

    Args:
        name: as in :meth:`Host.checkpoints`.
        path: its file, None if it never had one.
        family: name of a family of :mod:`lib_lora.models.families`, ``"sd1"``.
        prediction: ``"epsilon"`` or ``"v"``.
        latent_factor: pixels to a latent, along one side.
        max_clip_skip: layers of its text encoder.
    """

    name: str
    path: Path | None
    family: str
    prediction: str
    latent_factor: int
    max_clip_skip: int


@dataclass(frozen=True)
class GenerationRequest:
    """One image to generate. Requests of equal size, steps, sampler and cfg share a batch.

    Args:
        prompt, negative: in the host's syntax: a web UI weighs what is in parentheses, without one nothing is syntax.
            :meth:`Host.literal` makes a prompt of a caption.
        width, height: pixels, multiples of the model's latent factor.
        steps: sampling steps.
        cfg: classifier-free guidance scale; 1 does without the negative prompt.
        seed: the noise of this image, and of no other in the batch, depends on it.
        sampler: a name of the host's samplers.
        clip_skip: 1 is the text encoder's last layer.
        weights: multiplier of each attached network for this image; empty for the networks' own.
    """

    prompt: str
    negative: str = ""
    width: int = 512
    height: int = 512
    steps: int = 20
    cfg: float = 7.0
    seed: int = 0
    sampler: str = "DPM++ 2M Karras"
    clip_skip: int = 1
    weights: tuple[float, ...] = ()


class LoadedModel(Protocol):
    """The host's live model, borrowed for training."""

    @property
    def family(self) -> str:
        """Name of a family of :mod:`lib_lora.models.families`."""

    @property
    def name(self) -> str:
        """As in :meth:`Host.checkpoints`."""

    @property
    def path(self) -> Path | None:
        """Of its file; None if it never had one."""

    @property
    def device(self) -> torch.device:
        """Where it computes."""

    @property
    def dtype(self) -> torch.dtype:
        """In which it computes."""

    @property
    def prediction(self) -> str:
        """``"epsilon"``, ``"v"`` or ``"flow"``."""

    @property
    def schedule(self) -> Schedule:
        """How much noise there is at each timestep."""

    @property
    def latent_scale(self) -> float:
        """What the VAE gives, times this, is a latent."""

    @property
    def latent_factor(self) -> int:
        """Pixels to a latent, along one side."""

    def hashes(self) -> dict[str, str]:
        """``{"model": …, "vae": …}``: SHA-256 of the file and of the VAE's tensors; of a family whose text encoders are
        never trained also ``"text"``, which tells these apart."""

    def layers(self, part: str | None = None) -> dict[str, nn.Module]:
        """Kohya key -> live module: linear, convolution and norm of ``"unet"``, ``"te"`` or (None) both."""

    def encode_text(
        self,
        captions: Sequence[str],
        *,
        max_tokens: int = 225,
        clip_skip: int = 1,
        min_chunks: int = 1,
        weighted: bool = False,
        kohya_layout: bool = False,
    ) -> Tensor:
        """Conditioning ``[B, 77·n, D]`` of captions, differentiable; n is the same for the whole batch.

        Captions are literal, unless ``weighted``. In ``kohya_layout`` it is ``[B, 75·n + 2, D]``. SDXL's carries the
        pooled vector behind the states of its text encoders, the same in all rows of a caption; whoever passes the
        conditioning on need not know.
        """

    def put_text_away(self, away: bool) -> None:
        """Let text encoders that nobody trains wait in main memory until they are asked, or no longer."""

    def chunk_count(self, caption: str) -> int:
        """Chunks of 75 tokens that a literal caption needs."""

    def token_count(self, caption: str) -> int:
        """Tokens of a caption, without begin, end and padding."""

    def predict(self, x_t: Tensor, t: Tensor, cond: Tensor) -> Tensor:
        """The denoiser's output ``[B, C, h, w]`` for noisy latents, timesteps ``[B]`` and conditioning.

        Models of a family with ``sizes`` also take these, ``[B, 6]`` in pixels: height and width of the original image,
        top and left of the crop, height and width of what is trained on; None for an uncropped image.
        """

    def encode_images(self, pixels: Tensor) -> Tensor:
        """Scaled latents ``[B, C, h, w]`` (posterior mean) of images ``[B, 3, H, W]`` in [-1, 1]."""

    def decode_latents(self, latents: Tensor) -> Tensor:
        """Images ``[B, 3, H, W]`` in [-1, 1] of scaled latents."""

    def stored(self, packing: str = "", away: float = 0.0) -> AbstractContextManager[None]:
        """The U-Net's linear and convolution weights stored otherwise for a ``with`` block, then as they were.

        Args:
            packing: ``"fp8"`` (float8_e4m3fn), ``"nf4"`` or, as they are, ``""``.
            away: share of them, 0 to 1, that waits in main memory; a host that decides that itself does not look.

        Raises:
            UserError: others use these weights meanwhile, or a package is missing.
        """

    def gradient_checkpointing(self, on: bool, blocks: Collection[str] = ()) -> None:
        """Trade time for memory in the backward pass of U-Net and text encoder.

        Args:
            blocks: of these only, by their names in :mod:`lib_lora.adapters.blocks`; empty: of all.
        """


class GpuLock(Protocol):
    """Held around every slice of work on the model; re-entrant in one thread."""

    def __enter__(self) -> object: ...

    def __exit__(self, *exc: object) -> None: ...

    def waiting(self) -> bool:
        """Whether another thread is queueing for the lock."""


class Host(Protocol):
    """Where we live: a web UI, or nothing but ourselves."""

    @property
    def name(self) -> str:
        """Of the program, for the user."""

    @property
    def gpu_lock(self) -> GpuLock:
        """Held by whoever works on the model."""

    @property
    def paths(self) -> HostPaths:
        """The folders it reads and writes."""

    @property
    def shows_checkpoints(self) -> bool:
        """Whether its own page has the choice of the checkpoint, so that ours needs none."""

    def checkpoints(self) -> list[str]:
        """Names that :meth:`load` accepts."""

    def checkpoint_path(self, name: str) -> Path:
        """The file of a checkpoint; a :class:`UserError` if there is none of that name."""

    def load(self, name: str) -> None:
        """Make a checkpoint the current model."""

    def info(self) -> ModelInfo | None:
        """The current model, None if there is none."""

    def ensure_loaded(self) -> ModelInfo:
        """The current model; where there is none yet, the host loads the one it would generate with.

        Raises:
            UserError: it has none to load.
        """

    def training_session(self) -> AbstractContextManager[LoadedModel]:
        """The model, ready to be trained through adapters; the host gets it back as it was, whatever happens."""

    def card_lent(self) -> AbstractContextManager[None]:
        """Leaves the memory of the card to another process meanwhile; call it while holding :attr:`gpu_lock`."""

    def waiting(self) -> bool:
        """Whether somebody else wants the GPU."""

    def literal(self, text: str) -> str:
        """A prompt that is read as ``text``, whatever in it would be the host's syntax."""

    def samplers(self) -> list[str]:
        """Sampler names for :class:`GenerationRequest`."""

    def generate(
        self,
        requests: Sequence[GenerationRequest],
        networks: Sequence[Any] = (),
        on_image: Callable[[int, Image.Image], None] | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> list[Image.Image]:
        """One image per request, with the networks attached.

        Args:
            requests: what to make.
            networks: attached for this call only. One that is attached already acts anyway and is not passed again.
            on_image: called with (index of the request, image) as soon as an image is there.
            cancelled: asked between steps.

        Raises:
            Cancelled: ``cancelled`` said so.
        """

    def refresh_loras(self) -> None:
        """Tell the host that LoRA files came or went."""

    def upscalers(self) -> list[str]:
        """Names for :meth:`upscale`; there is always ``"Lanczos"``."""

    def upscale(self, name: str, image: Image.Image, factor: float) -> Image.Image:
        """An RGB picture with sides of round(side × factor); ``factor`` is above 1. May use the GPU, under its lock.

        Raises:
            UserError: there is no such upscaler.
        """

    def taggers(self) -> list[str]:
        """Names for :meth:`tag_probabilities`: the host's own taggers, ``"deepbooru"`` in a web UI."""

    def tag_probabilities(self, name: str, image: Image.Image) -> dict[str, float]:
        """Tag, as the model spells it -> probability, of an RGB picture.

        Raises:
            UserError: there is no such tagger.
        """
