"""Lumina Image 2.0, as diffusers' Lumina2Pipeline: time runs from noise to picture."""

from __future__ import annotations

from torch import Tensor

from lib_lora.hosts.standalone.dit.calls import Calls, Pipe, Transformer
from lib_lora.models.conditioning import Conditioning


def _encode(pipe: Pipe, caption: str) -> Conditioning:
    states, mask, *_ = pipe.encode_prompt([caption], do_classifier_free_guidance=False)
    return Conditioning(states, mask.bool())


def _predict(transformer: Transformer, x: Tensor, sigma: Tensor, cond: Conditioning, _: float) -> Tensor:
    return -transformer(
        hidden_states=x,
        timestep=1 - sigma,
        encoder_hidden_states=cond.states,
        encoder_attention_mask=cond.mask.long(),
        return_dict=False,
    )[0]


LUMINA2 = Calls("Lumina2Transformer2DModel", lambda _: "lumina2", _encode, _predict, "Lumina2Pipeline")
