"""Diffusion transformers in Forge Neo as ``models.base.LoadedModel``: its engines encode, its transformers predict.

Neo's engines read prompts, encode pictures and add what a model wants beside the caption; all of that is asked of them,
so that training sees what an image of the user's sees. Source: Forge Neo's ``backend/diffusion_engine`` and ``KModel``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cached_property
from importlib import import_module
from types import ModuleType
from typing import Any

import torch
from modules import shared
from torch import Tensor, nn

from lib_lora.adapters.recognition import candidates
from lib_lora.hosts.forge.model import ForgeModel, ForgeXLModel
from lib_lora.hosts.forge_objects.blocks import differentiable_attention
from lib_lora.hosts.live_layers import live_layers
from lib_lora.hosts.text_hash import text_hash
from lib_lora.hosts.webui.host import SYNTAX
from lib_lora.hosts.webui.model import do_nothing
from lib_lora.models.conditioning import Conditioning, joined
from lib_lora.models.families import family
from lib_lora.models.family import Family
from lib_lora.models.schedule import STEPS
from lib_lora.models.weights import weight_shape

ROTATIONS = ("apply_rope", "apply_rope1", "apply_rope_split_half")
TRAINED = ("Anima", "NextDiT")  # classes whose blocks overwrite nothing that a backward pass needs


def transformer_family(sd_model: Any) -> Family | None:
    """The family of the transformer that an engine has, by the names of its layers; None for a U-Net, or no engine."""
    objects = getattr(sd_model, "forge_objects_original", None)
    unet = getattr(getattr(getattr(objects, "unet", None), "model", None), "diffusion_model", None)
    if unet is None:
        return None
    shapes = {key: weight_shape(layer) for key, layer in live_layers("unet", unet).items()}
    found = candidates({key: (shape[0], shape[1]) for key, shape in shapes.items() if len(shape) > 1})
    return found[0] if found and not found[0].chunks else None


def can_be_trained(sd_model: Any) -> bool:
    """Whether gradients pass the transformer of an engine as it is."""
    return type(sd_model.forge_objects_original.unet.model.diffusion_model).__name__ in TRAINED


@contextmanager
def differentiable(unet: nn.Module, attention: Callable[..., Any]) -> Iterator[None]:
    """Let gradients pass what a transformer calls: ``attention``, and rotations of which Neo has fast ones without.

    Those that comfy_kitchen has in plain PyTorch are the same formula; they are used only where gradients are made.
    """
    called = sys.modules[type(unet).__module__]
    with ExitStack() as stack:
        stack.enter_context(differentiable_attention(called, ["attention_function"], attention))
        plain = _plain_rotations()
        for holder in (called, vars(called).get("ck")):
            for name in ROTATIONS if isinstance(holder, ModuleType) else ():
                if hasattr(plain, name):
                    stack.enter_context(differentiable_attention(holder, [name], getattr(plain, name)))
        yield


def _plain_rotations() -> ModuleType | None:
    try:
        return import_module("comfy_kitchen.backends.eager.rope")
    except ImportError:
        return None


class ForgeTransformerModel(ForgeModel):
    """An engine's transformer; arguments as :class:`ForgeModel`."""

    def __init__(self, sd_model: Any, ready: Callable[[str], None] = do_nothing):
        super().__init__(sd_model, ready)
        found = transformer_family(sd_model)
        assert found is not None
        self.family = found.name
        self.latent_factor = found.latents.factor
        self.latent_scale = found.latents.scale

    @property
    def text_encoder(self) -> nn.Module:
        encoders: nn.Module = self.objects.clip.cond_stage_model
        return encoders

    @property
    def max_clip_skip(self) -> int:
        return 1

    @cached_property
    def _hashes(self) -> dict[str, str]:
        return {**super()._hashes, "text": text_hash([self.text_encoder])}

    def prepare_text_encoder(self) -> None:
        """Nothing: the engine does that itself."""

    def token_count(self, caption: str) -> int:
        """Tokens of a caption, with what the engine puts around it."""
        return int(self.sd_model.get_prompt_lengths_on_ui(_literal(caption))[0])

    def chunk_count(self, _caption: str) -> int:
        """1: captions are not read in chunks."""
        return 1

    @torch.no_grad()
    def encode_text(self, captions: Sequence[str], **_: Any) -> Tensor:
        """A packed :class:`Conditioning` of literal captions, each encoded alone."""
        self._ready("te")
        return joined([self._told(caption).packed() for caption in captions])

    def _told(self, caption: str) -> Conditioning:
        found = self.sd_model.get_learned_conditioning([_literal(caption)])
        states: Tensor = found[0].clone()  # made in inference mode, of which autograd can keep nothing
        return Conditioning.whole(states if states.ndim == 3 else states[None])

    def predict(self, x_t: Tensor, t: Tensor, cond: Tensor) -> Tensor:
        """ε − x_0 as float32 ``[B, C, h, w]``, for noisy latents, times ``[B]`` in thousandths and conditioning.

        As ``KModel.apply_model`` calls the transformer. Captions of different length go through it one after the other,
        for Neo has no mask for them.
        """
        self._ready("unet")
        told = Conditioning.unpacked(cond.to(x_t.device))
        sigma = t.to(x_t.device, torch.float32) / STEPS
        if bool((told.mask.sum(dim=1) == told.mask.sum(dim=1)[0]).all()):
            return self._output(x_t, sigma, told.states[:, : int(told.mask[0].sum())])
        rows = zip(x_t.split(1), sigma.split(1), told.states, told.mask, strict=True)
        return torch.cat([self._output(x, s, states[mask][None]) for x, s, states, mask in rows])

    def _output(self, x: Tensor, sigma: Tensor, states: Tensor) -> Tensor:
        x = x.to(self.dtype)
        film = bool(getattr(self.sd_model, "is_wan", False))
        time = self.objects.unet.model.predictor.timestep(sigma).float()
        output: Tensor = self.unet(
            x.unsqueeze(2) if film else x, time, context=states.to(self.dtype), control=None, transformer_options={}
        ).float()
        return output.squeeze(2) if film else output

    def _needs_autocast(self) -> bool:
        return False  # Neo runs them in the type of their computation

    @torch.no_grad()
    def encode_images(self, pixels: Tensor) -> Tensor:
        """Latents ``[B, C, h, w]``, float32, as the transformer sees them, of images ``[B, 3, H, W]`` in [-1, 1]."""
        self._ready("vae")
        found: Tensor = self.sd_model.encode_first_stage(pixels.float()).clone().float()
        return found.squeeze(2) if found.ndim == 5 else found

    @torch.no_grad()
    def decode_latents(self, latents: Tensor) -> Tensor:
        """Images ``[B, 3, H, W]``, float32, in [-1, 1] of such latents."""
        self._ready("vae")
        film = bool(getattr(self.sd_model, "is_wan", False))
        found: Tensor = self.sd_model.decode_first_stage(latents.unsqueeze(2) if film else latents).clone().float()
        return (found.flatten(0, 1) if found.ndim == 5 else found).clamp(-1, 1)  # [B, frames, 3, H, W]

    def _unet_layers(self) -> dict[str, nn.Module]:
        known = family(self.family)
        return {key: layer for key, layer in live_layers("unet", self.unet).items() if known.place(key) is not None}

    def _text_layers(self) -> dict[str, nn.Module]:
        return {}


def forge_model(sd_model: Any, ready: Callable[[str], None] = do_nothing) -> ForgeModel:
    """The model of whichever family it is."""
    if transformer_family(sd_model) is not None:
        return ForgeTransformerModel(sd_model, ready)
    return (ForgeXLModel if sd_model.is_sdxl else ForgeModel)(sd_model, ready)


def _literal(caption: str) -> str:
    """``caption`` as a prompt that says just that."""
    weighs = getattr(shared.opts, "emphasis", "") != "None"
    return caption if not weighs else SYNTAX.sub(r"\\\g<0>", caption)
