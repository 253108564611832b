"""A web UI's Stable Diffusion model as ``models.base.LoadedModel``: its live modules, no copy of them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lib_lora.adapters.network import Network
from lib_lora.adapters.selection import part_of
from lib_lora.errors import UserError
from lib_lora.files import sha256_file
from lib_lora.hosts import vae
from lib_lora.hosts.checkpointing import BlockCheckpointing, layers_in
from lib_lora.hosts.clip import CaptionEncoder, TextOptions
from lib_lora.hosts.live_layers import live_layers
from lib_lora.models.schedule import Schedule
from lib_lora.models.unet import SD
from lib_lora.models.weights import storage_of

NAN_HELP = "Start the web UI with --no-half-vae, or choose another VAE"


def do_nothing(part: str) -> None:
    """For models that nobody trains."""


class WebUIModel(CaptionEncoder):
    """``shared.sd_model``; the subclasses know where each web UI keeps the parts.

    Args:
        sd_model: the live model.
        ready: called before each use with ``"unet"``, ``"te"`` or ``"vae"``; may put the model in order.
    """

    family = "sd1"
    latent_factor = 8
    prediction: str
    latent_scale: float
    schedule: Schedule
    unet: nn.Module
    vae: nn.Module
    text_encoder: nn.Module
    device: torch.device

    def __init__(self, sd_model: Any, ready: Callable[[str], None] = do_nothing):
        self.sd_model = sd_model
        self._ready = ready
        self.checkpoint = sd_model.sd_checkpoint_info
        self.name: str = self.checkpoint.name
        self.path = Path(self.checkpoint.filename)
        self._checkpointing = BlockCheckpointing([self.unet, self.text_encoder], self._precision)
        self._wide_vae = False  # it gave NaN in half precision

    @property
    def dtype(self) -> torch.dtype:
        """Of the U-Net's weights."""
        return next(self.unet.parameters()).dtype

    @property
    def max_clip_skip(self) -> int:
        """The text encoder's layers."""
        return self.text_encoder.config.num_hidden_layers

    @cached_property
    def _hashes(self) -> dict[str, str]:
        # the web UI has hashed the file when it loaded it, unless it was started with --no-hashing
        return {"model": self.checkpoint.sha256 or sha256_file(self.path), "vae": vae.tensor_hash(self.vae)}

    def hashes(self) -> dict[str, str]:
        """SHA-256 of the checkpoint file and of the VAE's tensors; computed once."""
        return dict(self._hashes)

    def layers(self, part: str | None = None) -> dict[str, nn.Module]:
        """Kohya key -> live module: linear, convolution and norm of ``"unet"``, ``"te"`` or (None) both."""
        self._ready_to_attach(part)
        found: dict[str, nn.Module] = {}
        if part in (None, "unet"):
            found |= self._unet_layers()
        if part in (None, "te"):
            found |= self._text_layers()
        return found

    def _unet_layers(self) -> dict[str, nn.Module]:
        return live_layers("unet", self.unet, SD.to_diffusers)

    def _text_layers(self) -> dict[str, nn.Module]:
        return live_layers("te", self.text_encoder)

    def device_of(self, part: str) -> torch.device:
        """Where ``"unet"`` or ``"te"`` computes, whether or not its weights are there now."""
        return self.device

    def place(self, network: Network) -> None:
        """Move an attached network to where it is needed; the weights beside it may still wait elsewhere."""
        for key, adapter in network.adapters.items():
            adapter.to(self.device_of(part_of(key)))

    def _conditioning(self, captions: Sequence[str], options: TextOptions) -> Tensor:
        self._ready("te")
        with self._precision("te"):
            return super()._conditioning(captions, options)

    def predict(self, x_t: Tensor, t: Tensor, cond: Tensor) -> Tensor:
        """The U-Net's raw output ``[B, 4, h, w]``, float32, for noisy latents, timesteps ``[B]`` and conditioning."""
        self._ready("unet")
        x_t = x_t.to(self.dtype)
        # float timesteps, as the web UIs' samplers pass them: A1111's patched embedding keeps integers in float32
        t = t.to(x_t.device, torch.float32)
        with self._precision():
            return self._unet_output(x_t, t, cond.to(x_t.device, self.dtype)).float()

    @torch.no_grad()
    def encode_images(self, pixels: Tensor) -> Tensor:
        """Scaled latents ``[B, 4, H/8, W/8]``, float32 (posterior mean) of images ``[B, 3, H, W]`` in [-1, 1].

        Raises:
            UserError: the VAE made NaN of them.
        """
        self._ready("vae")
        latents = self._by_vae(self._posterior_mean, pixels)
        return vae.finite(latents * self.latent_scale, "encoding an image", self.path, NAN_HELP)

    @torch.no_grad()
    def decode_latents(self, latents: Tensor) -> Tensor:
        """Images ``[B, 3, H, W]``, float32, in [-1, 1] of scaled latents.

        Raises:
            UserError: the VAE made NaN of them.
        """
        self._ready("vae")
        images = self._by_vae(self._decoded, latents).clamp(-1, 1)
        return vae.finite(images, "decoding a latent", self.path, NAN_HELP)

    def _by_vae(self, compute: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        """``compute(x)`` in float32; computed in float32 too, from then on, where half precision makes NaN of it."""
        if not self._wide_vae:
            result = compute(x.to(*_place(self.vae))).float()
            if next(self.vae.parameters()).dtype == torch.float32 or torch.isfinite(result).all():
                return result
            self._wide_vae = True
        with self._vae_in_float32():
            return compute(x.to(*_place(self.vae))).float()

    def _vae_in_float32(self) -> AbstractContextManager[None]:
        return vae.in_float32(self.vae)

    def stored(self, packing: str = "", away: float = 0.0) -> AbstractContextManager[None]:
        """As they are: where the web UI itself packs them that is as good, else packing is refused.

        It makes the user's images with the same weights, and decides itself what waits in main memory.
        """
        if not packing or any(storage_of(layer) != "plain" for layer in self.layers("unet").values()):
            return nullcontext()
        raise UserError(
            "The web UI's own images need the weights as they are loaded",
            where=f"{packing}_base",
            fix=f"Switch {packing} base off; gradient checkpointing and a smaller batch save memory too",
        )

    def gradient_checkpointing(self, on: bool, blocks: Collection[str] = ()) -> None:
        """Trade time for memory in the backward pass of U-Net and text encoder, or of ``blocks`` of them."""
        self._checkpointing.set(on, layers_in(self.layers() if blocks else {}, blocks))

    def _ready_to_attach(self, part: str | None) -> None:
        """Adapters go where the weights are."""
        with torch.no_grad():  # for nothing is computed with them yet
            for each in ("unet", "te"):
                if part in (None, each):
                    self._ready(each)

    def _text_device(self) -> torch.device:
        return torch.device(self.device_of("te"))

    def _precision(self, part: str = "unet") -> AbstractContextManager[Any]:
        """The web UI's own precision for half weights, unless the caller has chosen one."""
        chosen = torch.is_autocast_enabled() or torch.is_autocast_cpu_enabled()
        elsewhere = torch.device(self.device_of(part)).type != torch.device(self.device).type
        return nullcontext() if chosen or elsewhere or not self._needs_autocast() else self._autocast()

    def _needs_autocast(self) -> bool:
        """Whether layers fail, or lose precision, as they are."""
        return self.dtype != torch.float32

    @abstractmethod
    def _unet_output(self, x_t: Tensor, t: Tensor, cond: Tensor) -> Tensor: ...

    @abstractmethod
    def _posterior_mean(self, pixels: Tensor) -> Tensor:
        """Unscaled."""

    @abstractmethod
    def _decoded(self, latents: Tensor) -> Tensor:
        """Of scaled latents."""

    @abstractmethod
    def _autocast(self) -> AbstractContextManager[Any]: ...


def _place(module: nn.Module) -> tuple[torch.device, torch.dtype]:
    parameter = next(module.parameters())
    return parameter.device, parameter.dtype
