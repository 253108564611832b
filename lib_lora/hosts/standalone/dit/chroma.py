"""Chroma, as diffusers' ChromaPipeline: of the filling behind a caption only the first row counts."""

from __future__ import annotations

import torch
from torch import Tensor

from lib_lora.hosts.standalone.dit.calls import Calls, Pipe, Transformer, grid_ids, in_patches, out_of_patches
from lib_lora.models.conditioning import Conditioning


def _encode(pipe: Pipe, caption: str) -> Conditioning:
    states, _, mask, *_ = pipe.encode_prompt([caption], do_classifier_free_guidance=False)
    return Conditioning(states, mask > 0.5)


def _predict(transformer: Transformer, x: Tensor, sigma: Tensor, cond: Conditioning, _: float) -> Tensor:
    rows = in_patches(x)
    output = transformer(
        hidden_states=rows,
        timestep=sigma,
        encoder_hidden_states=cond.states,
        txt_ids=torch.zeros(cond.states.shape[1], 3, device=x.device),
        img_ids=grid_ids(x.shape[2] // 2, x.shape[3] // 2, 3, x.device),
        attention_mask=torch.cat([cond.mask, cond.mask.new_ones(rows.shape[:2])], dim=1).to(x.dtype),
        return_dict=False,
    )[0]
    return out_of_patches(output, x)


CHROMA = Calls("ChromaTransformer2DModel", lambda _: "chroma", _encode, _predict, "ChromaPipeline")
