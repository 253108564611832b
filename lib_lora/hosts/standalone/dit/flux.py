"""Flux.1, as diffusers' FluxPipeline."""

from __future__ import annotations

import torch
from torch import Tensor

from lib_lora.hosts.standalone.dit.calls import Calls, Pipe, Transformer, grid_ids, in_patches, out_of_patches
from lib_lora.models.conditioning import Conditioning


def _encode(pipe: Pipe, caption: str) -> Conditioning:
    states, vector, _ = pipe.encode_prompt([caption], None)
    return Conditioning.whole(states, vector)


def _predict(transformer: Transformer, x: Tensor, sigma: Tensor, cond: Conditioning, guidance: float) -> Tensor:
    built_in = sigma.new_full(sigma.shape, guidance) if transformer.config.guidance_embeds else None
    output = transformer(
        hidden_states=in_patches(x),
        timestep=sigma,
        guidance=built_in,
        pooled_projections=cond.vector,
        encoder_hidden_states=cond.states,
        txt_ids=torch.zeros(cond.states.shape[1], 3, device=x.device),
        img_ids=grid_ids(x.shape[2] // 2, x.shape[3] // 2, 3, x.device),
        return_dict=False,
    )[0]
    return out_of_patches(output, x)


FLUX = Calls(
    "FluxTransformer2DModel",
    lambda _: "flux1",
    _encode,
    _predict,
    "FluxPipeline",
    vector=lambda config: int(config["pooled_projection_dim"]),
    guided=lambda config: bool(config["guidance_embeds"]),
)
