"""Lumina Image 2.0, and Neta Lumina.

Names: Alpha-VLLM/Lumina-Image-2.0 (fused q, k and v, of which q has three times as many rows as k or v); diffusers'
Lumina2Transformer2DModel splits them. Choice of layers: sd-scripts ``lora_lumina.py`` without modulation and refiners.
"""

from __future__ import annotations

import re

from lib_lora.models.dit import FLUX_VAE, LANGUAGE_MODEL, DiTNames, Stack, dit_blocks, dit_kinds, dit_trained
from lib_lora.models.family import Family, Marking

_ATTENTION = {
    "attention.qkv": ("attn.to_q attn.to_k attn.to_v",),
    "attention.out": ("attn.to_out.0",),
    "attention.q_norm": ("attn.norm_q",),
    "attention.k_norm": ("attn.norm_k",),
    "attention_norm1": ("norm1.norm",),
    "attention_norm2": ("norm2",),
    "ffn_norm1": (),
    "ffn_norm2": (),
    "feed_forward.w1": ("feed_forward.linear_1",),
    "feed_forward.w2": ("feed_forward.linear_2",),
    "feed_forward.w3": ("feed_forward.linear_3",),
}
_LAYERS = {**_ATTENTION, "adaLN_modulation.1": ("norm1.linear",)}
_SHARES = {"attention.qkv": (3, 1, 1)}
_STACKS = (
    Stack("layers", 26, _LAYERS, "S{n:02}", shares=_SHARES),
    Stack("noise_refiner", 2, _LAYERS, "IN", shares=_SHARES),
    Stack("context_refiner", 2, _ATTENTION, "IN", shares=_SHARES),
)
_SINGLE = {
    "x_embedder": (),
    "cap_embedder.0": ("time_caption_embed.caption_embedder.0",),
    "cap_embedder.1": ("time_caption_embed.caption_embedder.1",),
    "t_embedder.mlp.0": ("time_caption_embed.timestep_embedder.linear_1",),
    "t_embedder.mlp.2": ("time_caption_embed.timestep_embedder.linear_2",),
    "final_layer.linear": ("norm_out.linear_2",),
    "final_layer.adaLN_modulation.1": ("norm_out.linear_1",),
}

LUMINA2 = Family(
    name="lumina2",
    label="Lumina 2",
    short="Lumina 2",
    order=41,
    names=DiTNames(_STACKS, _SINGLE),
    text_encoders={"lora_te_": (LANGUAGE_MODEL, "lora_te_")},
    blocks=dit_blocks(_STACKS, {"TE": "lora_te"}),
    kinds=dit_kinds(r"_attention_(?:qkv|out)$", r"_feed_forward_w\d$"),
    trained=dit_trained(("layers",), "modulation|norm", r"_attention_(?:qkv|out)$"),
    marks=(re.compile(r"_adaLN_modulation_1$|_feed_forward_linear_\d$|_layers_\d+_attn_to_"),),
    written=re.compile("_attention_qkv$"),  # Z-Image's are trained on diffusers' layers
    widths={r"_attention_qkv$": (3840, 2304), r"_feed_forward_w[13]$": (9216, 2304), r"_attention_out$": (2304, 2304)},
    shift=6.0,
    latents=FLUX_VAE,
    bucket_step=16,
    preset="Other transformers",
    marking=Marking("lumina2", "lumina-2", "https://github.com/Alpha-VLLM/Lumina-Image-2.0", architectures=("lumina",)),
)
