"""A Stable Diffusion 1.x model made of diffusers and transformers modules, as ``models.base.LoadedModel``."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextModel

from lib_lora.errors import UserError
from lib_lora.files import sha256_file
from lib_lora.hosts.standalone.tokenizer import clip_tokenizer
from lib_lora.models.captions import MAX_TOKENS, chunk_ids, split_tokens
from lib_lora.models.layers import kohya_key
from lib_lora.models.schedule import NoiseSchedule

LATENT_SCALE = 0.18215


class StandaloneModel:
    """U-Net, VAE and text encoder with the operations that training and sampling need.

    Args:
        name, path: of the checkpoint.
        unet, vae, text_encoder: on the device they will run on; the VAE in float32.
        prediction: ``"epsilon"`` or ``"v"``.
    """

    family = "sd1"
    latent_scale = LATENT_SCALE
    latent_factor = 8

    def __init__(
        self,
        name: str,
        path: Path,
        unet: UNet2DConditionModel,
        vae: AutoencoderKL,
        text_encoder: CLIPTextModel,
        prediction: str = "epsilon",
    ):
        self.name, self.path = name, path
        self.unet, self.vae, self.text_encoder = unet, vae, text_encoder
        self.prediction = prediction
        self.schedule = NoiseSchedule()

    @property
    def device(self) -> torch.device:
        return self.unet.device

    @property
    def dtype(self) -> torch.dtype:
        return self.unet.dtype

    @property
    def modules(self) -> dict[str, nn.Module]:
        """The three modules by their short names."""
        return {"unet": self.unet, "vae": self.vae, "te": self.text_encoder}

    @property
    def max_clip_skip(self) -> int:
        return self.text_encoder.config.num_hidden_layers

    @cached_property
    def _hashes(self) -> dict[str, str]:
        digest = hashlib.sha256()
        for key, tensor in sorted(self.vae.state_dict().items()):
            digest.update(key.encode())
            digest.update(tensor.float().cpu().contiguous().numpy().tobytes())
        return {"model": sha256_file(self.path), "vae": digest.hexdigest()}

    def hashes(self) -> dict[str, str]:
        """SHA-256 of the checkpoint file and of the VAE's tensors; computed once."""
        return dict(self._hashes)

    def layers(self, part: str | None = None) -> dict[str, nn.Module]:
        """Kohya key -> live module: every Linear and Conv2d of ``"unet"``, ``"te"`` or (None) both."""
        return {
            kohya_key(name, path): module
            for name in ("unet", "te")
            if part in (None, name)
            for path, module in self.modules[name].named_modules()
            if isinstance(module, nn.Linear | nn.Conv2d)
        }

    def tokens(self, caption: str) -> list[int]:
        """Token ids of a caption, without begin and end."""
        return clip_tokenizer()(caption, add_special_tokens=False)["input_ids"]

    def token_count(self, caption: str) -> int:
        """Tokens of a caption, without begin, end and padding."""
        return len(self.tokens(caption))

    def chunk_count(self, caption: str) -> int:
        """Chunks of 75 tokens that a caption needs."""
        return min(len(split_tokens(self.tokens(caption))), MAX_TOKENS // 75)

    def encode_text(
        self, captions: Sequence[str], *, max_tokens: int = MAX_TOKENS, clip_skip: int = 1, min_chunks: int = 1
    ) -> Tensor:
        """Conditioning of literal captions, differentiable.

        Args:
            captions: B of them.
            max_tokens: what is beyond is dropped; a multiple of 75.
            clip_skip: 1 is the last layer of the text encoder, 2 the one before.
            min_chunks: pad with empty chunks to at least so many.

        Returns:
            ``[B, 77·n, D]``; the text encoder sees ``B·n`` rows, the chunks of one caption beside each other.

        Raises:
            UserError: ``clip_skip`` is not in 1 … number of layers.
        """
        if not 1 <= clip_skip <= self.max_clip_skip:
            raise UserError("There is no such layer", where=f"clip skip {clip_skip}", fix=f"1 to {self.max_clip_skip}")
        ids = chunk_ids([self.tokens(c) for c in captions], max_tokens, min_chunks).to(self.device)
        states = self._hidden(ids.flatten(0, 1), clip_skip)
        return states.reshape(ids.shape[0], -1, states.shape[-1])

    def _hidden(self, ids: Tensor, clip_skip: int) -> Tensor:
        if clip_skip == 1:
            return self.text_encoder(ids).last_hidden_state
        states = self.text_encoder(ids, output_hidden_states=True).hidden_states
        return _text_core(self.text_encoder).final_layer_norm(states[-clip_skip])

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
        return self._finite(latents, "encoding an image")

    @torch.no_grad()
    def decode_latents(self, latents: Tensor) -> Tensor:
        """Images ``[B, 3, H, W]`` in [-1, 1] of scaled latents.

        Raises:
            UserError: the VAE made NaN of them.
        """
        images = self.vae.decode(latents.to(self.device, self.vae.dtype) / self.latent_scale).sample.clamp(-1, 1)
        return self._finite(images, "decoding a latent")

    def _finite(self, tensor: Tensor, doing: str) -> Tensor:
        if not torch.isfinite(tensor).all():
            raise UserError(
                f"The VAE produced NaN while {doing}",
                where=self.path,
                fix="the checkpoint's VAE or what was fed to it is damaged; try another checkpoint, or a lower weight",
            )
        return tensor

    def gradient_checkpointing(self, on: bool) -> None:
        """Trade time for memory in the backward pass of U-Net and text encoder."""
        # newer releases of transformers say "activation" where all others say "gradient"
        kind = "activation" if hasattr(self.text_encoder, "activation_checkpointing_enable") else "gradient"
        if on:
            self.unet.enable_gradient_checkpointing()
            getattr(self.text_encoder, f"{kind}_checkpointing_enable")({"use_reentrant": False})
        else:
            self.unet.disable_gradient_checkpointing()
            getattr(self.text_encoder, f"{kind}_checkpointing_disable")()
        self.text_encoder.train(on)  # transformers checkpoints in training mode only; CLIP has no dropout to wake


def _text_core(text_encoder: CLIPTextModel) -> nn.Module:
    """Transformers 4 nests the encoder in ``text_model``, transformers 5 does not."""
    return getattr(text_encoder, "text_model", text_encoder)
