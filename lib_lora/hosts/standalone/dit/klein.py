"""Flux.2 Klein, as diffusers' Flux2KleinPipeline: four axes of positions, of which the last counts the words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from lib_lora.hosts.standalone.dit.calls import Calls, Pipe, Transformer, grid_ids
from lib_lora.models.conditioning import Conditioning


def _encode(pipe: Pipe, caption: str) -> Conditioning:
    states, _ = pipe.encode_prompt([caption])
    return Conditioning.whole(states)


def _predict(transformer: Transformer, x: Tensor, sigma: Tensor, cond: Conditioning, _: float) -> Tensor:
    words = torch.zeros(cond.states.shape[1], 4, device=x.device)
    words[:, 3] = torch.arange(len(words), device=x.device)
    output = transformer(
        hidden_states=x.flatten(2).transpose(1, 2),
        timestep=sigma,
        guidance=None,
        encoder_hidden_states=cond.states,
        txt_ids=words.expand(len(x), -1, -1),
        img_ids=grid_ids(x.shape[2], x.shape[3], 4, x.device).expand(len(x), -1, -1),
        return_dict=False,
    )[0]
    return output.transpose(1, 2).reshape(x.shape)


def _family(config: Mapping[str, Any]) -> str:
    if config.get("guidance_embeds", True):
        return "flux2"  # the large one, which is none of ours
    return "klein9b" if config["num_layers"] == 8 else "klein4b"


KLEIN = Calls("Flux2Transformer2DModel", _family, _encode, _predict, "Flux2KleinPipeline", patched=True)
