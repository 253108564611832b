"""Qwen-Image, as diffusers' QwenImagePipeline."""

from __future__ import annotations

from torch import Tensor

from lib_lora.hosts.standalone.dit.calls import Calls, Pipe, Transformer, in_patches, out_of_patches
from lib_lora.models.conditioning import Conditioning

LIMIT = 1024  # tokens


def _encode(pipe: Pipe, caption: str) -> Conditioning:
    states, mask = pipe.encode_prompt([caption], max_sequence_length=LIMIT)
    return Conditioning.whole(states) if mask is None else Conditioning(states, mask.bool())


def _predict(transformer: Transformer, x: Tensor, sigma: Tensor, cond: Conditioning, _: float) -> Tensor:
    output = transformer(
        hidden_states=in_patches(x),
        timestep=sigma,
        guidance=None,
        encoder_hidden_states=cond.states,
        encoder_hidden_states_mask=None if bool(cond.mask.all()) else cond.mask,
        img_shapes=[[(1, x.shape[2] // 2, x.shape[3] // 2)]] * len(x),
        return_dict=False,
    )[0]
    return out_of_patches(output, x)


QWEN_IMAGE = Calls("QwenImageTransformer2DModel", lambda _: "qwen_image", _encode, _predict, "QwenImagePipeline")
