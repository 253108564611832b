"""A diffusion transformer made of diffusers' and transformers' modules, as ``models.base.LoadedModel``."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lib_lora.files import sha256_file
from lib_lora.hosts import vae
from lib_lora.hosts.checkpointing import BlockCheckpointing, layers_in
from lib_lora.hosts.standalone.dit.calls import Calls
from lib_lora.hosts.standalone.dit.fused import fuse, layers_of
from lib_lora.hosts.standalone.dit.latents import decoded, encoded
from lib_lora.hosts.standalone.model import NAN_HELP
from lib_lora.hosts.standalone.storage import stored
from lib_lora.hosts.text_hash import text_hash
from lib_lora.models.conditioning import Conditioning, joined
from lib_lora.models.families import family
from lib_lora.models.schedule import STEPS, FlowSchedule, Schedule


class StandaloneTransformer:
    """Transformer, VAE and frozen text encoders with the operations that training and sampling need.

    Args:
        name: of the checkpoint.
        path: its file, or diffusers' folder.
        parts: diffusers' pipeline, or anything that has its parts.
        components: the parts by name, on the device that they will run on; the VAE in float32.
        calls: how the transformer is called.
        shift: of the times in sampling; 0 goes by the resolution.
    """

    prediction = "flow"
    max_clip_skip = 1
    zero_terminal = False

    def __init__(self, name: str, path: Path, parts: Any, components: Mapping[str, Any], calls: Calls, shift: float):
        self.name, self.path, self.calls, self.shift = name, path, calls, shift
        self.parts = parts
        self.transformer: nn.Module = components["transformer"]
        self.vae: nn.Module = components["vae"]
        self.text = [part for part in _by_order(components) if isinstance(part, nn.Module)]
        self._tokenizers = [part for key, part in components.items() if "tokenizer" in key]
        config = self.transformer.config
        self.family = calls.family(config)
        self.schedule: Schedule = FlowSchedule()
        self.guided = calls.guided(config)
        self.guidance = 1.0
        self._vector = calls.vector(config)
        self._latents = family(self.family).latents
        self._away = False
        fuse(self.transformer, family(self.family))
        self._checkpointing = BlockCheckpointing([self.transformer])

    @property
    def latent_factor(self) -> int:
        """Pixels of a side to one of the latent."""
        return self._latents.factor

    @property
    def latent_scale(self) -> float:
        """Times what the VAE gives, a latent."""
        return self._latents.scale

    @property
    def latent_channels(self) -> int:
        """Of a latent [C, h, w]."""
        return self._latents.channels

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return next(self.vae.parameters()).device  # the transformer's own weights may wait elsewhere

    @property
    def dtype(self) -> torch.dtype:
        """In which the transformer computes; its weights may be packed."""
        return self._dtype

    @cached_property
    def _dtype(self) -> torch.dtype:
        found: torch.dtype = self.transformer.dtype
        return found

    @property
    def modules(self) -> dict[str, nn.Module]:
        """All modules by their short names."""
        return {"unet": self.transformer, "vae": self.vae, **{f"te{n}": te for n, te in enumerate(self.text, 1)}}

    @cached_property
    def _hashes(self) -> dict[str, str]:
        return {
            "model": _hash_of(self.path),
            "vae": vae.tensor_hash(self.vae),
            "text": text_hash(self.text),
        }

    def hashes(self) -> dict[str, str]:
        """SHA-256 of the checkpoint, of the VAE's tensors, and of what the text encoders are; computed once."""
        return dict(self._hashes)

    def layers(self, part: str | None = None) -> dict[str, nn.Module]:
        """Kohya key -> live module of the transformer; there are none of text encoders, which stay as they are."""
        return {} if part == "te" else layers_of(self.transformer, family(self.family))

    def token_count(self, caption: str) -> int:
        """Tokens of a caption, without begin, end and padding."""
        return max(len(t(caption, add_special_tokens=False)["input_ids"]) for t in self._tokenizers)

    def chunk_count(self, caption: str) -> int:
        """1: captions are not read in chunks."""
        return 1

    @torch.no_grad()
    def encode_text(self, captions: Sequence[str], *, min_chunks: int = 1, **_: object) -> Tensor:
        """A packed :class:`Conditioning` of captions, each encoded alone. CLIP's options have no meaning here."""
        with self._text_at_hand():
            return joined([self.calls.encode(self.parts, caption).packed() for caption in captions])

    def put_text_away(self, away: bool) -> None:
        """Let the text encoders wait in main memory while nobody asks them, or no longer."""
        self._away = away
        self._move_text(torch.device("cpu") if away else self.device)

    @contextmanager
    def _text_at_hand(self) -> Iterator[None]:
        self._move_text(self.device)
        try:
            yield
        finally:
            if self._away:
                self._move_text(torch.device("cpu"))

    def _move_text(self, device: torch.device) -> None:
        for encoder in self.text:
            if next(encoder.parameters()).device != device:
                encoder.to(device)

    def predict(self, x_t: Tensor, t: Tensor, cond: Tensor) -> Tensor:
        """ε − x_0 as float32 ``[B, C, h, w]``, for noisy latents, times ``[B]`` in thousandths and conditioning."""
        told = Conditioning.unpacked(cond.to(self.device, self.dtype), self._vector)
        x, sigma = x_t.to(self.dtype), t.to(self.device, torch.float32) / STEPS
        return self.calls.predict(self.transformer, x, sigma, told, self.guidance).float()

    @torch.no_grad()
    def encode_images(self, pixels: Tensor) -> Tensor:
        """Latents ``[B, C, h, w]`` (posterior mean), as the transformer sees them, of ``[B, 3, H, W]`` in [-1, 1].

        Raises:
            UserError: the VAE made NaN of them.
        """
        latents = encoded(self.vae, pixels.to(self.device, self.vae.dtype), self._latents, self.calls.patched)
        return vae.finite(latents, "encoding an image", self.path, NAN_HELP)

    @torch.no_grad()
    def decode_latents(self, latents: Tensor) -> Tensor:
        """Images ``[B, 3, H, W]`` in [-1, 1] of such latents.

        Raises:
            UserError: the VAE made NaN of them.
        """
        images = decoded(self.vae, latents.to(self.device, self.vae.dtype), self._latents, self.calls.patched)
        return vae.finite(images.clamp(-1, 1), "decoding a latent", self.path, NAN_HELP)

    def stored(self, packing: str = "", away: float = 0.0) -> AbstractContextManager[None]:
        """The transformer's weights packed or in main memory; see :mod:`lib_lora.hosts.standalone.storage`."""
        return stored(self.layers("unet").values(), self.device, packing, away)

    def gradient_checkpointing(self, on: bool, blocks: Collection[str] = ()) -> None:
        """Trade time for memory in the backward pass, of the whole transformer or of ``blocks``."""
        self._checkpointing.set(on, layers_in(self.layers(), blocks))


def _by_order(components: Mapping[str, Any]) -> list[Any]:
    return [components[key] for key in sorted(components) if key.startswith("text_")]


def _hash_of(path: Path) -> str:
    """SHA-256 of a file; of a folder's transformer, that of the hashes of its files."""
    if path.is_file():
        return sha256_file(path)
    digest = hashlib.sha256()
    for file in sorted((path / "transformer").glob("*.safetensors")):
        digest.update(f"{file.name} {sha256_file(file)}\n".encode())
    return digest.hexdigest()
