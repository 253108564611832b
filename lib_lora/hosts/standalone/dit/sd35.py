"""Stable Diffusion 3.5, as diffusers' StableDiffusion3Pipeline; its times are thousandths."""

from __future__ import annotations

from torch import Tensor

from lib_lora.hosts.standalone.dit.calls import Calls, Pipe, Transformer
from lib_lora.models.conditioning import Conditioning
from lib_lora.models.schedule import STEPS


def _encode(pipe: Pipe, caption: str) -> Conditioning:
    states, _, vector, _ = pipe.encode_prompt([caption], None, None, do_classifier_free_guidance=False)
    return Conditioning.whole(states, vector)


def _predict(transformer: Transformer, x: Tensor, sigma: Tensor, cond: Conditioning, _: float) -> Tensor:
    found: Tensor = transformer(
        hidden_states=x,
        timestep=sigma * STEPS,
        encoder_hidden_states=cond.states,
        pooled_projections=cond.vector,
        return_dict=False,
    )[0]
    return found


SD35 = Calls(
    "SD3Transformer2DModel",
    lambda config: "sd35_large" if config["num_layers"] > 24 else "sd35_medium",
    _encode,
    _predict,
    "StableDiffusion3Pipeline",
    vector=lambda config: int(config["pooled_projection_dim"]),
)
