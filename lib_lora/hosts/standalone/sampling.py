"""Requests → images: batches whose samples do not influence each other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from PIL import Image
from torch import Tensor

from lib_lora.adapters.network import Network
from lib_lora.errors import Cancelled, UserError
from lib_lora.hosts.batches import alike, multipliers_kept, room, set_rows, settings_of, weights_of
from lib_lora.hosts.standalone.dit.model import StandaloneTransformer
from lib_lora.hosts.standalone.model import StandaloneModel
from lib_lora.hosts.standalone.samplers import make_scheduler
from lib_lora.models.base import GenerationRequest
from lib_lora.models.schedule import resolution_shift

Standalone = StandaloneModel | StandaloneTransformer
DECODE_PIXELS = 2 * 512 * 512  # of one batch through the VAE, which needs far more memory per pixel


def batches(model: Standalone, requests: Sequence[GenerationRequest]) -> list[list[int]]:
    """Indices of requests that can be sampled together, in batches that fit the memory.

    Prompts of different numbers of chunks are kept apart: padding one with empty chunks would change its image.
    """
    return alike(
        requests,
        lambda r: (*settings_of(r), chunk_count(model, r)),
        lambda r: room(r, model.latent_factor, model.device, model.dtype),
    )


def chunk_count(model: Standalone, request: GenerationRequest) -> int:
    """Chunks of 75 tokens that the longer of prompt and negative prompt needs."""
    texts = [request.prompt, request.negative] if request.cfg != 1 else [request.prompt]
    return max(model.chunk_count(text) for text in texts)


@torch.no_grad()
def sample(
    model: Standalone,
    requests: Sequence[GenerationRequest],
    networks: Sequence[Network] = (),
    cancelled: Callable[[], bool] | None = None,
) -> Tensor:
    """Latents ``[B, C, h, w]`` of one batch of requests, with the attached ``networks`` at each request's weights.

    Raises:
        Cancelled: between two steps.
        UserError: unknown sampler or clip skip, or NaN.
    """
    r = requests[0]
    copies = 1 if r.cfg == 1 or model.guided else 2
    cond = _conditioning(model, requests, networks, copies)
    generators = [torch.Generator().manual_seed(request.seed) for request in requests]
    scheduler = make_scheduler(r.sampler, model.prediction, model.zero_terminal, _shift(model, r))
    scheduler.set_timesteps(r.steps, device=model.device)
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(0)  # else it looks for each timestep in its list, and waits for the device to find it
    shape = (model.latent_channels, r.height // model.latent_factor, r.width // model.latent_factor)
    noise = torch.stack([torch.randn(shape, generator=generator) for generator in generators])
    latents = noise.to(model.device) * scheduler.init_noise_sigma
    with image_weights(networks, requests, copies, device=model.device), _guidance(model, r.cfg):
        for t in scheduler.timesteps:
            if cancelled is not None and cancelled():
                raise Cancelled
            x = scheduler.scale_model_input(latents, t)
            output = _guided(model, x, t, cond, r.cfg)
            latents = scheduler.step(output, t, latents, generator=generators).prev_sample
    if not torch.isfinite(latents).all():
        raise UserError("Sampling ended in NaN", where=model.name, fix="Use a lower LoRA weight or another checkpoint")
    return latents


def _shift(model: Standalone, request: GenerationRequest) -> float:
    """Of a flow's times: the model's own, or that which follows the resolution."""
    return model.shift or resolution_shift(request.width * request.height // (2 * model.latent_factor) ** 2)


@contextmanager
def _guidance(model: Standalone, cfg: float) -> Iterator[None]:
    """A guidance that is built into the model gets the scale, for a ``with`` block; training has it at 1."""
    model.guidance = cfg if model.guided else 1.0
    try:
        yield
    finally:
        model.guidance = 1.0


def _guided(model: Standalone, x: Tensor, t: Tensor, cond: Tensor, cfg: float) -> Tensor:
    """Classifier-free guidance (Ho & Salimans 2022); without it where cond has no unconditional half."""
    copies = len(cond) // len(x)
    output = model.predict(x.repeat(copies, 1, 1, 1), t.expand(len(cond)), cond)
    if copies == 1:
        return output
    uncond, conditional = output.chunk(2)
    return uncond + cfg * (conditional - uncond)


def _conditioning(
    model: Standalone, requests: Sequence[GenerationRequest], networks: Sequence[Network], copies: int
) -> Tensor:
    """``[copies·B, 77·n, D]``, the negative prompts first. Each image's text encoder runs at its own weights."""
    texts = [r.prompt for r in requests]
    if copies == 2:
        texts = [r.negative for r in requests] + texts
    chunks = max(chunk_count(model, r) for r in requests)
    with image_weights(networks, requests, copies, chunks, model.device):
        return model.encode_text(texts, clip_skip=requests[0].clip_skip, min_chunks=chunks)


@contextmanager
def image_weights(
    networks: Sequence[Network],
    requests: Sequence[GenerationRequest],
    copies: int,
    chunks: int = 1,
    device: torch.device | None = None,
) -> Iterator[None]:
    """Give each image its own network weights, in a batch of ``copies`` × images × ``chunks`` rows on ``device``."""
    with multipliers_kept(networks):
        set_rows(networks, weights_of(networks, requests), copies, chunks, device)
        yield


def decode(model: Standalone, latents: Tensor) -> list[Image.Image]:
    """Latents ``[B, C, h, w]`` → images, a few at a time."""
    pixels = latents[0, 0].numel() * model.latent_factor**2
    images = []
    for part in latents.split(max(1, DECODE_PIXELS // pixels)):
        decoded = (model.decode_latents(part) + 1) * 127.5
        arrays = decoded.round().to("cpu", torch.uint8).permute(0, 2, 3, 1).numpy()
        images += [Image.fromarray(array) for array in arrays]
    return images
