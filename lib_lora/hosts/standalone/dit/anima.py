"""Anima, as the steps of diffusers' AnimaModularPipeline: Qwen3's states and T5's token ids through a small adapter."""

from __future__ import annotations

import torch
from torch import Tensor

from lib_lora.hosts.standalone.dit.calls import Calls, Pipe, Transformer
from lib_lora.models.conditioning import Conditioning

LIMIT = 512


def _encode(pipe: Pipe, caption: str) -> Conditioning:
    from diffusers.modular_pipelines.anima.before_denoise import AnimaTextConditioningStep
    from diffusers.modular_pipelines.anima.encoders import AnimaTextEncoderStep

    device = pipe.text_encoder.device
    found = AnimaTextEncoderStep.encode_prompt(
        pipe, [caption], prepare_unconditional_embeds=False, max_sequence_length=LIMIT, device=device
    )
    states = AnimaTextConditioningStep._condition_prompt_embeds(
        pipe,
        **{name: value for name, value in found.items() if value is not None},
        device=device,
        conditioning_dtype=pipe.text_conditioner.dtype,
        output_dtype=pipe.text_encoder.dtype,
    )
    return Conditioning.whole(states)


def _predict(transformer: Transformer, x: Tensor, sigma: Tensor, cond: Conditioning, _: float) -> Tensor:
    if transformer.config.concat_padding_mask:  # ours is there already, and of the right size: theirs wants torchvision
        transformer.register_to_config(concat_padding_mask=False)
    nowhere = torch.zeros_like(x[:, :1])
    output = transformer(
        hidden_states=torch.cat([x, nowhere], dim=1).unsqueeze(2),
        timestep=sigma,
        encoder_hidden_states=cond.states,
        return_dict=False,
    )[0]
    return output.squeeze(2)


ANIMA = Calls(
    "CosmosTransformer3DModel",
    lambda config: "anima40" if config["num_layers"] > 28 else "anima",
    _encode,
    _predict,
)
