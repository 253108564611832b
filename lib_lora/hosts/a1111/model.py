"""The web UI's Stable Diffusion 1.x model as ``models.base.LoadedModel``: its live modules, no copy of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from modules import devices
from torch import Tensor, nn

from lib_lora.files import sha256_file
from lib_lora.hosts import clip, vae
from lib_lora.hosts.checkpointing import BlockCheckpointing
from lib_lora.hosts.live_layers import live_layers
from lib_lora.models.captions import MAX_TOKENS
from lib_lora.models.layers import ldm_to_diffusers_module
from lib_lora.models.schedule import NoiseSchedule

NAN_HELP = "Start the web UI with --no-half-vae, or choose another VAE"


class A1111Model:
    """``shared.sd_model``, an ``ldm.models.diffusion.ddpm.LatentDiffusion``.

    Args:
        sd_model: the live model.
        ready: called before each use of the model; may put it in order.
    """

    family = "sd1"
    latent_factor = 8

    def __init__(self, sd_model: Any, ready: Callable[[], None] = lambda: None):
        self.sd_model = sd_model
        self._ready = ready
        self.checkpoint = sd_model.sd_checkpoint_info
        self.name: str = self.checkpoint.name
        self.path = Path(self.checkpoint.filename)
        self.prediction = "v" if sd_model.parameterization == "v" else "epsilon"
        self.latent_scale = float(sd_model.scale_factor)
        # the settings may have rounded or rescaled the schedule in use; the original is what the model was trained on
        alphas = getattr(sd_model, "alphas_cumprod_original", sd_model.alphas_cumprod)
        self.schedule = NoiseSchedule(alphas.detach().float().cpu().clone())
        self._checkpointing = BlockCheckpointing([self.unet, self.text_encoder])

    @property
    def unet(self) -> nn.Module:
        return self.sd_model.model.diffusion_model

    @property
    def vae(self) -> nn.Module:
        return self.sd_model.first_stage_model

    @property
    def text_encoder(self) -> nn.Module:
        """The ``CLIPTextModel`` inside the web UI's two wrappers."""
        return self.sd_model.cond_stage_model.wrapped.transformer

    @property
    def device(self) -> torch.device:
        return devices.device

    @property
    def dtype(self) -> torch.dtype:
        return next(self.unet.parameters()).dtype

    @property
    def max_clip_skip(self) -> int:
        return self.text_encoder.config.num_hidden_layers

    @cached_property
    def _hashes(self) -> dict[str, str]:
        # the web UI has hashed the file when it loaded it, unless it was started with --no-hashing
        return {"model": self.checkpoint.sha256 or sha256_file(self.path), "vae": vae.tensor_hash(self.vae)}

    def hashes(self) -> dict[str, str]:
        """SHA-256 of the checkpoint file and of the VAE's tensors; computed once."""
        return dict(self._hashes)

    def layers(self, part: str | None = None) -> dict[str, nn.Module]:
        """Kohya key -> live module: every Linear and Conv2d of ``"unet"``, ``"te"`` or (None) both."""
        found: dict[str, nn.Module] = {}
        if part in (None, "unet"):
            found |= live_layers("unet", self.unet, ldm_to_diffusers_module)
        if part in (None, "te"):
            found |= live_layers("te", self.text_encoder)
        return found

    def tokens(self, caption: str) -> list[int]:
        """Token ids of a caption, without begin and end; nothing in it is syntax."""
        return self.sd_model.cond_stage_model.tokenize([caption])[0]

    def token_count(self, caption: str) -> int:
        """Tokens of a caption, without begin, end and padding."""
        return len(self.tokens(caption))

    def chunk_count(self, caption: str) -> int:
        """Chunks of 75 tokens that a caption needs."""
        return clip.chunk_count(self.tokens(caption))

    def encode_text(
        self,
        captions: Sequence[str],
        *,
        max_tokens: int = MAX_TOKENS,
        clip_skip: int = 1,
        min_chunks: int = 1,
        weighted: bool = False,
        kohya_layout: bool = False,
    ) -> Tensor:
        """Conditioning ``[B, 77·n, D]`` of captions, differentiable; see :func:`lib_lora.hosts.clip.encode`."""
        self._ready()
        with self._autocast():
            return clip.encode(
                self.text_encoder, self.tokens, captions, max_tokens=max_tokens, clip_skip=clip_skip,
                min_chunks=min_chunks, weighted=weighted, kohya_layout=kohya_layout, device=self.device,
            )  # fmt: skip

    def predict(self, x_t: Tensor, t: Tensor, cond: Tensor) -> Tensor:
        """The U-Net's raw output ``[B, 4, h, w]``, float32, for noisy latents, timesteps ``[B]`` and conditioning."""
        self._ready()
        x_t = x_t.to(self.dtype)
        # float timesteps, as the web UI's samplers pass them: its patched embedding keeps integers in float32
        t = t.to(x_t.device, torch.float32)
        with self._autocast():
            return self.sd_model.model(x_t, t, c_crossattn=[cond.to(self.dtype)]).float()

    @torch.no_grad()
    def encode_images(self, pixels: Tensor) -> Tensor:
        """Scaled latents ``[B, 4, H/8, W/8]``, float32 (posterior mean) of images ``[B, 3, H, W]`` in [-1, 1].

        Raises:
            UserError: the VAE made NaN of them.
        """
        self._ready()
        posterior = self.sd_model.encode_first_stage(pixels.to(self.device, next(self.vae.parameters()).dtype))
        latents = posterior.mode().float() * self.latent_scale
        return vae.finite(latents, "encoding an image", self.path, NAN_HELP)

    @torch.no_grad()
    def decode_latents(self, latents: Tensor) -> Tensor:
        """Images ``[B, 3, H, W]``, float32, in [-1, 1] of scaled latents.

        Raises:
            UserError: the VAE made NaN of them.
        """
        self._ready()
        latents = latents.to(self.device, next(self.vae.parameters()).dtype)
        images = self.sd_model.decode_first_stage(latents).float().clamp(-1, 1)
        return vae.finite(images, "decoding a latent", self.path, NAN_HELP)

    def gradient_checkpointing(self, on: bool) -> None:
        """Trade time for memory in the backward pass of U-Net and text encoder."""
        self._checkpointing.set(on)

    def _autocast(self) -> AbstractContextManager[Any]:
        """The web UI's own precision for half weights, unless the caller has chosen one."""
        chosen = torch.is_autocast_enabled() or torch.is_autocast_cpu_enabled()
        return nullcontext() if chosen or self.dtype == torch.float32 else devices.autocast()
