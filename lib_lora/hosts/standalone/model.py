"""A Stable Diffusion 1.x model made of diffusers and transformers modules, as ``models.base.LoadedModel``."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager
from functools import cached_property
from pathlib import Path

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextModel

from lib_lora.files import sha256_file
from lib_lora.hosts import vae
from lib_lora.hosts.checkpointing import BlockCheckpointing, layers_in
from lib_lora.hosts.clip import CaptionEncoder
from lib_lora.hosts.standalone.storage import stored
from lib_lora.hosts.standalone.tokenizer import clip_tokenizer
from lib_lora.models.layers import kohya_key
from lib_lora.models.schedule import FlowSchedule, NoiseSchedule, Schedule, scaled_linear_alphas, zero_terminal_alphas

LATENT_SCALE = 0.18215
NAN_HELP = "The checkpoint's VAE or what was fed to it is damaged; try another checkpoint, or a lower weight"


class StandaloneModel(CaptionEncoder):
    """U-Net, VAE and text encoder with the operations that training and sampling need.

    Args:
        name, path: of the checkpoint.
        unet, vae, text_encoder: on the device they will run on; the VAE in float32.
        prediction: ``"epsilon"``, ``"v"`` or ``"flow"``.
        zero_terminal: whether the model was trained on noise without any signal, as NoobAI's v-prediction models.
    """

    family = "sd1"
    latent_scale = LATENT_SCALE
    latent_factor = 8
    latent_channels = 4
    shift = 1.0  # of a flow's times when it is sampled
    guided = False  # no guidance is built in
    guidance = 1.0

    def __init__(
        self,
        name: str,
        path: Path,
        unet: UNet2DConditionModel,
        vae: AutoencoderKL,
        text_encoder: CLIPTextModel | nn.ModuleDict,
        prediction: str = "epsilon",
        zero_terminal: bool = False,
    ):
        self.name, self.path = name, path
        self.unet, self.vae, self.text_encoder = unet, vae, text_encoder
        self.prediction, self.zero_terminal = prediction, zero_terminal
        alphas = scaled_linear_alphas()
        self.schedule: Schedule = NoiseSchedule(zero_terminal_alphas(alphas) if zero_terminal else alphas)
        if prediction == "flow":
            self.schedule = FlowSchedule()
        self._checkpointing = BlockCheckpointing([unet, text_encoder])

    @property
    def device(self) -> torch.device:
        """Where it computes; weights may wait elsewhere."""
        return self.unet.conv_norm_out.weight.device  # a norm stays where the others compute

    @property
    def dtype(self) -> torch.dtype:
        """In which the U-Net computes; its weights may be packed."""
        return self.unet.conv_norm_out.weight.dtype  # others may be packed

    @property
    def modules(self) -> dict[str, nn.Module]:
        """The three modules by their short names."""
        return {"unet": self.unet, "vae": self.vae, "te": self.text_encoder}

    @property
    def max_clip_skip(self) -> int:
        """The text encoder's layers."""
        return self.text_encoder.config.num_hidden_layers

    @cached_property
    def _hashes(self) -> dict[str, str]:
        return {"model": sha256_file(self.path), "vae": vae.tensor_hash(self.vae)}

    def hashes(self) -> dict[str, str]:
        """SHA-256 of the checkpoint file and of the VAE's tensors; computed once."""
        return dict(self._hashes)

    def layers(self, part: str | None = None) -> dict[str, nn.Module]:
        """Kohya key -> live module: linear, convolution and norm of ``"unet"``, ``"te"`` or (None) both."""
        return {
            kohya_key(name, path): module
            for name in ("unet", "te")
            if part in (None, name)
            for path, module in adaptable(self.modules[name])
        }

    def tokens(self, caption: str) -> list[int]:
        """Token ids of a caption, without begin and end."""
        return clip_tokenizer()(caption, add_special_tokens=False)["input_ids"]

    def predict(self, x_t: Tensor, t: Tensor, cond: Tensor) -> Tensor:
        """The U-Net's raw output ``[B, 4, h, w]``, float32, for noisy latents, timesteps ``[B]`` and conditioning."""
        return self.unet(x_t.to(self.dtype), t, encoder_hidden_states=cond.to(self.dtype)).sample.float()

    @torch.no_grad()
    def encode_images(self, pixels: Tensor) -> Tensor:
        """Scaled latents ``[B, 4, H/8, W/8]`` (posterior mean) of images ``[B, 3, H, W]`` in [-1, 1].

        Raises:
            UserError: the VAE made NaN of them.
        """
        latents = self.vae.encode(pixels.to(self.device, self.vae.dtype)).latent_dist.mean * self.latent_scale
        return vae.finite(latents, "encoding an image", self.path, NAN_HELP)

    @torch.no_grad()
    def decode_latents(self, latents: Tensor) -> Tensor:
        """Images ``[B, 3, H, W]`` in [-1, 1] of scaled latents.

        Raises:
            UserError: the VAE made NaN of them.
        """
        images = self.vae.decode(latents.to(self.device, self.vae.dtype) / self.latent_scale).sample.clamp(-1, 1)
        return vae.finite(images, "decoding a latent", self.path, NAN_HELP)

    def stored(self, packing: str = "", away: float = 0.0) -> AbstractContextManager[None]:
        """The U-Net's weights packed or in main memory; see :func:`lib_lora.hosts.standalone.storage.stored`."""
        return stored(self.layers("unet").values(), self.device, packing, away)

    def gradient_checkpointing(self, on: bool, blocks: Collection[str] = ()) -> None:
        """Trade time for memory in the backward pass of U-Net and text encoder, or of ``blocks`` of them."""
        self._checkpointing.set(on, layers_in(self.layers(), blocks))


def adaptable(module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Path and module of every linear layer, convolution and normalisation."""
    for path, child in module.named_modules():
        if isinstance(child, nn.Linear | nn.Conv2d | nn.LayerNorm | nn.GroupNorm):
            yield path, child
