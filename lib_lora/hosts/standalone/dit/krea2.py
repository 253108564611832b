"""Krea 2, as diffusers' Krea2Pipeline: states of several layers of its text encoder, side by side."""

from __future__ import annotations

import torch
from torch import Tensor

from lib_lora.hosts.standalone.dit.calls import Calls, Pipe, Transformer, grid_ids, in_patches, out_of_patches
from lib_lora.models.conditioning import Conditioning


def _encode(pipe: Pipe, caption: str) -> Conditioning:
    states, mask = pipe.encode_prompt([caption])
    return Conditioning(states.flatten(2), mask.bool())


def _predict(transformer: Transformer, x: Tensor, sigma: Tensor, cond: Conditioning, _: float) -> Tensor:
    length, layers = cond.states.shape[1], transformer.config.num_text_layers
    places = grid_ids(x.shape[2] // 2, x.shape[3] // 2, 3, x.device)
    output = transformer(
        hidden_states=in_patches(x),
        encoder_hidden_states=cond.states.unflatten(-1, (layers, -1)),
        timestep=sigma,
        position_ids=torch.cat([torch.zeros(length, 3, device=x.device), places]),
        encoder_attention_mask=cond.mask,
        return_dict=False,
    )[0]
    return out_of_patches(output, x)


KREA2 = Calls("Krea2Transformer2DModel", lambda _: "krea2", _encode, _predict, "Krea2Pipeline")
