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
from backend import args
from modules import shared
from modules.prompt_parser import SdConditioning
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
FLUX = ("IntegratedFluxTransformer2DModel", "IntegratedChromaTransformer2DModel")
TRAINED = ("Anima", "NextDiT", *FLUX)  # classes that gradients pass, given copies of what ``blocks.BLOCKS`` overwrite


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
    """Whether gradients pass the transformer of an engine."""
    return type(sd_model.forge_objects_original.unet.model.diffusion_model).__name__ in TRAINED


@contextmanager
def differentiable(unet: nn.Module, attention: Callable[..., Any]) -> Iterator[None]:
    """Let gradients pass what a transformer calls: ``attention``, and rotations of which Neo has fast ones without.

    Those that comfy_kitchen has in plain PyTorch are the same formula; they are used only where gradients are made.
    """
    called = {sys.modules[type(part).__module__] for part in unet.modules()}  # Chroma's blocks are Flux's
    with ExitStack() as stack:
        for module in called:
            stack.enter_context(differentiable_attention(module, ["attention_function"], attention))
        plain = _plain_rotations()
        for holder in {*called, *(vars(module).get("ck") for module in called)}:
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
    """An engine's transformer; arguments as :class:`ForgeModel`.

    Attributes:
        guidance: that is built in, as it is trained.
    """

    guidance = 1.0

    def __init__(self, sd_model: Any, ready: Callable[[str], None] = do_nothing):
        super().__init__(sd_model, ready)
        found = transformer_family(sd_model)
        assert found is not None
        self.family = found.name
        self.latent_factor = found.latents.factor
        self.latent_scale = found.latents.scale

    @property
    def text_encoder(self) -> nn.Module:
        """All text encoders of the checkpoint."""
        encoders: nn.Module = self.objects.clip.cond_stage_model
        return encoders

    @property
    def max_clip_skip(self) -> int:
        """1: no layer of such an encoder is skipped."""
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
        with without_references(self.sd_model):
            found = self.sd_model.get_learned_conditioning(SdConditioning([_literal(caption)]))
        vector = None
        if isinstance(found, dict):  # Flux.1's
            found, vector = found["crossattn"], found["vector"].clone()
        states: Tensor = found[0].clone()  # made in inference mode, of which autograd can keep nothing
        return Conditioning.whole(states if states.ndim == 3 else states[None], vector)

    @property
    def _summary(self) -> int:
        """Numbers of the vector that the transformer wants beside the caption; 0 for none."""
        embedder = getattr(self.unet, "vector_in", None)
        return 0 if embedder is None else weight_shape(embedder.in_layer)[1]

    def predict(self, x_t: Tensor, t: Tensor, cond: Tensor) -> Tensor:
        """ε − x_0 as float32 ``[B, C, h, w]``, for noisy latents, times ``[B]`` in thousandths and conditioning.

        As ``KModel.apply_model`` calls the transformer. Captions of different length go through it one after the other,
        for Neo has no mask for them.
        """
        self._ready("unet")
        told = Conditioning.unpacked(cond.to(x_t.device), self._summary)
        sigma = t.to(x_t.device, torch.float32) / STEPS
        if bool((told.mask.sum(dim=1) == told.mask.sum(dim=1)[0]).all()):
            return self._output(x_t, sigma, told.states[:, : int(told.mask[0].sum())], told.vector)
        vectors = [None] * len(x_t) if told.vector is None else told.vector.split(1)
        rows = zip(x_t.split(1), sigma.split(1), told.states, told.mask, vectors, strict=True)
        return torch.cat([self._output(x, s, states[mask][None], v) for x, s, states, mask, v in rows])

    def _output(self, x: Tensor, sigma: Tensor, states: Tensor, vector: Tensor | None) -> Tensor:
        x = x.to(self.dtype)
        film = bool(getattr(self.sd_model, "is_wan", False))
        time = self.objects.unet.model.predictor.timestep(sigma).float()
        more = {} if vector is None else {"y": vector.to(self.dtype)}
        if getattr(self.sd_model, "use_distilled_cfg_scale", False):
            more["guidance"] = torch.full_like(sigma, self.guidance)
        with without_references(self.sd_model):
            output: Tensor = self.unet(
                x.unsqueeze(2) if film else x, time, context=states.to(self.dtype), control=None,
                transformer_options={}, **more,
            ).float()  # fmt: skip
        return output.squeeze(2) if film else output

    def _needs_autocast(self) -> bool:
        return False  # Neo runs them in the type of their computation

    @torch.no_grad()
    def encode_images(self, pixels: Tensor) -> Tensor:
        """Latents ``[B, C, h, w]``, float32, as the transformer sees them, of images ``[B, 3, H, W]`` in [-1, 1]."""
        self._ready("vae")
        with without_references(self.sd_model):  # some engines keep what they encode for the next image
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


@contextmanager
def without_references(engine: Any) -> Iterator[None]:
    """No pictures that the user's own images refer to (Kontext, Klein), for a ``with`` block; kept for them."""
    # the program's arguments are a class in Neo, and a table without references in Forge
    holders = [(engine, "ref_latents", []), (engine, "ini_latent", None), (args.dynamic_args, "ref_latents", [])]
    before = [(holder, name, getattr(holder, name)) for holder, name, _ in holders if hasattr(holder, name)]
    try:
        for holder, name, empty in holders:
            if hasattr(holder, name):
                setattr(holder, name, empty)
        yield
    finally:
        for holder, name, value in before:
            setattr(holder, name, value)


def forge_model(sd_model: Any, ready: Callable[[str], None] = do_nothing) -> ForgeModel:
    """The model of whichever family it is."""
    if transformer_family(sd_model) is not None:
        return ForgeTransformerModel(sd_model, ready)
    return (ForgeXLModel if sd_model.is_sdxl else ForgeModel)(sd_model, ready)


def _literal(caption: str) -> str:
    """``caption`` as a prompt that says just that."""
    weighs = getattr(shared.opts, "emphasis", "") != "None"
    return caption if not weighs else SYNTAX.sub(r"\\\g<0>", caption)
