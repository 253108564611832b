"""Z-Image, as diffusers' ZImagePipeline: time runs from noise to picture, and the output points the other way."""

from __future__ import annotations

import torch
from torch import Tensor

from lib_lora.hosts.standalone.dit.calls import Calls, Pipe, Transformer
from lib_lora.models.conditioning import Conditioning


def _encode(pipe: Pipe, caption: str) -> Conditioning:
    states, _ = pipe.encode_prompt([caption], do_classifier_free_guidance=False)
    return Conditioning.whole(states[0][None])


def _predict(transformer: Transformer, x: Tensor, sigma: Tensor, cond: Conditioning, _: float) -> Tensor:
    captions = [states[mask] for states, mask in zip(cond.states, cond.mask, strict=True)]
    output = transformer(list(x.unsqueeze(2)), 1 - sigma, captions, return_dict=False)[0]
    return -torch.stack(output).squeeze(2)


Z_IMAGE = Calls("ZImageTransformer2DModel", lambda _: "z_image", _encode, _predict, "ZImagePipeline")
